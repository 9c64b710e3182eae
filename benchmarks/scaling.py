"""The same training on several meshes of simulated devices: losses, temporary memory per device, collectives.

    python -m benchmarks.scaling --out scaling.json

A child process simulates eight devices on the host. Each row is one mesh. Equal losses show that the divided step
computes the same as the whole step. Time is not measured, since all devices share the same cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_tools.console import print_table

from .process import Apart
from .record import record_of, start, write_record

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
"""By name: (number of devices, number of devices that share an image, whether weights are sharded)."""


def measure_mesh(name: str, args: Args) -> dict[str, Any]:
    """Losses of some steps on one of MESHES, which needs its number of devices. A loss is that of the whole batch."""
    import jax
    import numpy as np

    from unet_jax.registry import create
    from unet_jax.training.devices.mesh import make_mesh, put_batch, shard_state
    from unet_jax.training.devices.step_cost import collectives_of
    from unet_jax.training.run.values import RunValues
    from unet_jax.training.settings import TrainSettings
    from unet_jax.training.step import initial_state, make_step
    from unet_spec import preset

    count, space, fsdp = MESHES[name]
    settings = TrainSettings().replace(
        steps=args.steps,
        batch=args.batch,
        tile=args.tile,
        space=space,
        fsdp=fsdp,
        ema=0.9,
        loss="cross_entropy+dice",
    )
    config: Any = preset("paper", widths=args.widths, norm=args.norm, dropout=0.2)
    shape = settings.data.tile_shape(config)
    mesh = make_mesh(settings, shape, jax.devices()[:count])
    graphdef, state = initial_state(create(config, 0), settings)
    step: Any = make_step(graphdef, settings, shape, mesh, state)
    values = RunValues.of(settings, [0.0], [1.0])
    state = shard_state(mesh, state, fsdp)
    window = settings.augmentation.window(shape)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(args.batch, *window, 1)).astype(np.float32)
    arrays = put_batch(
        mesh, (images, (images[..., 0] > 0.3).astype(np.int32), rng.random((args.batch, *window), np.float32))
    )
    compiled = step.lower(state, values, *arrays).compile()
    temporary = compiled.memory_analysis().temp_size_in_bytes
    largest = max(jax.tree.leaves(state["params"]), key=lambda a: a.size)
    share = largest.addressable_data(0).size / largest.size
    losses = []
    for _ in range(args.steps):
        state, loss = compiled(state, values, *arrays)
        losses.append(float(loss))
    return {
        "mesh": name,
        "losses": losses,
        "temporary_bytes": temporary,
        "largest_weight_share": share,
        "collectives": {kind: n for kind, (n, _) in collectives_of(compiled.as_text()).items()},
    }


@dataclass(frozen=True)
class Args:
    out: Path | None = None
    """A JSON file for the results."""
    meshes: tuple[str, ...] = tuple(MESHES)
    """Names of the meshes."""
    norm: str = "batch"
    """Norm of the network."""
    widths: tuple[int, ...] = (4, 8)
    """Feature maps per level."""
    tile: int = 60
    """Input pixels per axis."""
    steps: int = 3
    """Optimizer steps."""
    batch: int = 8
    """Images per step."""


def on_simulated_devices(args: Args) -> Callable[[str], dict[str, Any]]:
    """`measure_mesh` with eight simulated devices, in a process that has not imported JAX yet."""
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    os.environ |= {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return lambda name: measure_mesh(name, args)


def run_child(args: Args) -> list[dict[str, Any]]:
    """Results of all meshes, from a child process that simulates eight devices."""
    with Apart(on_simulated_devices, args) as measure:
        return [measure(name) for name in args.meshes]


def main(args: Args) -> int:
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
        record = record_of("scaling", worst_relative_difference=worst, lines=found)
        write_record(args.out, record | {"hardware": f"{record['hardware']}; eight simulated devices"})
    return 0


if __name__ == "__main__":
    start("scaling", Args, main, __doc__)
