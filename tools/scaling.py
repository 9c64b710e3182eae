"""The same training on meshes of simulated devices: losses, bytes of temporary memory per device, collectives.

    python -m unet_tools.scaling --out scaling.json

A child process simulates eight devices on the host; each line is one mesh. Equal losses show that the split step is
the whole step. Seconds would say nothing here: all devices share the same cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from unet_tools.console import print_table

MESHES = {
    "1 device": (1, 1, False),
    "2 data": (2, 1, False),
    "4 data": (4, 1, False),
    "8 data": (8, 1, False),
    "4 data, FSDP": (4, 1, True),
    "8 data, FSDP": (8, 1, True),
    "2 space": (2, 2, False),
    "4 space": (4, 4, False),
    "8 space": (8, 8, False),
    "2 data x 2 space": (4, 2, False),
    "2 data x 4 space, FSDP": (8, 4, True),
}
"""Name to (devices, of which share an image, weights spread)."""


def measure_mesh(name: str, norm: str, widths: tuple[int, ...], tile: int, steps: int, batch: int) -> dict[str, Any]:
    """Losses of some steps on one of MESHES; needs as many devices. Every loss is that of the whole batch."""
    import re

    import jax
    import jax.numpy as jnp
    import numpy as np

    from unet_jax.mesh import make_mesh, place, put_batch
    from unet_jax.settings import TrainSettings
    from unet_jax.step import initial_state, make_step
    from unet_jax.zoo import create
    from unet_spec import preset

    count, space, fsdp = MESHES[name]
    settings = TrainSettings(
        steps=steps, batch=batch, tile=tile, space=space, fsdp=fsdp, ema=0.9, loss="cross_entropy+dice"
    )
    config = preset("paper", widths=widths, norm=norm, dropout=0.2)
    shape = settings.tile_shape(config)
    mesh = make_mesh(settings, shape, jax.devices()[:count])
    graphdef, state = initial_state(create(config, 0), settings)
    step = make_step(graphdef, settings, shape, jnp.zeros(1), jnp.ones(1), mesh, state)
    state = place(mesh, state, fsdp)
    window = settings.augmentation.window(shape)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *window, 1)).astype(np.float32)
    arrays = put_batch(
        mesh, (images, (images[..., 0] > 0.3).astype(np.int32), rng.random((batch, *window), np.float32))
    )
    compiled = step.lower(state, *arrays).compile()
    text = compiled.as_text()
    names = re.findall(r"(all-gather|all-reduce|collective-permute|all-to-all|reduce-scatter)\(", text)
    temporary = compiled.memory_analysis().temp_size_in_bytes
    largest = max(jax.tree.leaves(state["params"]), key=lambda a: a.size)
    share = largest.addressable_data(0).size / largest.size
    losses = []
    for _ in range(steps):
        state, loss = compiled(state, *arrays)
        losses.append(float(loss))
    return {
        "mesh": name,
        "losses": losses,
        "temporary_bytes": temporary,
        "largest_weight_share": share,
        "collectives": {n: names.count(n) for n in sorted(set(names))},
    }


@dataclass(frozen=True)
class Args:
    out: Path | None = None
    """A JSON file for the results."""
    meshes: tuple[str, ...] = tuple(MESHES)
    """Which, by name."""
    norm: str = "batch"
    """Of the network."""
    widths: tuple[int, ...] = (4, 8)
    """Feature maps per level."""
    tile: int = 60
    """Input pixels per axis."""
    steps: int = 3
    """Optimizer steps."""
    batch: int = 8
    """Images a step."""


def run_child(args: Args) -> list[dict[str, Any]]:
    """The results of a child process that simulates eight devices."""
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "UNET_SCALING_CHILD": "1"}
    given = ["--norm", args.norm, "--tile", args.tile, "--steps", args.steps, "--batch", args.batch]
    given += ["--widths", *args.widths, "--meshes", *args.meshes]
    command = [sys.executable, "-m", "unet_tools.scaling", *map(str, given)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main(args: Args) -> int:
    if os.environ.get("UNET_SCALING_CHILD"):
        found = [measure_mesh(m, args.norm, args.widths, args.tile, args.steps, args.batch) for m in args.meshes]
        print(json.dumps(found))
        return 0
    found = run_child(args)
    first = found[0]["losses"]
    worst = max(abs(a - b) / abs(b) for line in found for a, b in zip(line["losses"], first, strict=True))
    lines = [
        (
            line["mesh"],
            " ".join(f"{loss:.7f}" for loss in line["losses"]),
            f"{line['temporary_bytes'] / 2**20:.2f}",
            f"{line['largest_weight_share']:.3f}",
            ", ".join(f"{n} {k}" for k, n in line["collectives"].items()),
        )
        for line in found
    ]
    print_table(None, ("mesh", "losses", "temporary MiB", "share of a weight", "collectives"), lines, right="2 3")
    print(f"largest relative difference of a loss from the first line's: {worst:.1e}")
    if args.out:
        from unet_tools.bench_record import record_of, write_record

        record = record_of("scaling", worst_relative_difference=worst, lines=found)
        write_record(args.out, record | {"hardware": f"{record['hardware']}; eight simulated devices"})
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args)))
