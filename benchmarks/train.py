"""The speed of training: the JAX step compared with the PyTorch twin's, forward and backward, on one machine.

    python -m benchmarks.train --widths 16 64 --tile 252 --out train_speed.json
    python -m benchmarks.train --widths 16 --spatial-dims 3 --padding same --levels 3 --tile 64

Both train the same network on the same tile with SGD and momentum, from device memory: no loading, no augmentation.
Each candidate has its own process, as a training has. They take turns, so that other load on the machine affects all.
The result is the ratio of the medians, with --starts over several starts of the processes. JAX runs as in the trainer
(jitted, donated); PyTorch runs eager, channels_last and, with --compile, compiled. On a GPU, float32 is multiplied as
TF32, which is JAX's default there, and bfloat16 is timed as well. Each row also has the speed relative to a matrix
product in the same arithmetic. On Linux all candidates use large pages, as `unet train` does; to measure without them,
use `GLIBC_TUNABLES= python -m …`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_spec import NetworkConfig, preset
from unet_spec.summary import facts
from unet_tools.checking.bench.measure import in_turns
from unet_tools.cli import LARGE_PAGES, use_large_pages
from unet_tools.console import print_table

from .process import Apart
from .profile import profile
from .record import record_of, start, write_record

Steps = Callable[[int], None]
"""Trains a number of steps and waits for them."""


def jax_steps(config: NetworkConfig, tile: int, batch: int, precision: Literal["float32", "bfloat16"]) -> Steps:
    """The trainer's step, without augmentation.

    Args:
        config: the network.
        tile: pixels per axis.
        batch: tiles per step.
        precision: number type of the arithmetic.
    """
    import jax

    from unet_jax.registry import create
    from unet_jax.training.augmentation.augment import NONE
    from unet_jax.training.run.values import RunValues
    from unet_jax.training.settings import TrainSettings
    from unet_jax.training.step import initial_state, make_step

    settings = (
        TrainSettings()
        .replace(
            batch=batch, tile=tile, optimizer="sgd", schedule="constant", weight_decay=0.0, clip=None, augmentation=NONE
        )
        .replace(precision=precision)
    )
    graphdef, state = initial_state(create(config, 0), settings)
    step = make_step(graphdef, settings, (tile,) * config.spatial_dims)
    values = RunValues.of(settings, [0.0], [1.0])
    images, labels = (jax.device_put(a) for a in _batch(config, tile, batch))

    def run(count: int) -> None:
        nonlocal state
        loss = None
        for _ in range(count):
            state, loss = step(state, values, images, labels)
        jax.block_until_ready(loss)

    return run


def torch_steps(
    config: NetworkConfig, tile: int, batch: int, channels_last: bool, compiled: bool, precision: str = "float32"
) -> Steps:
    """The PyTorch twin with cross entropy and torch.optim.SGD.

    Args:
        config: the network.
        tile: pixels per axis.
        batch: tiles per step.
        channels_last: whether to use this memory format.
        compiled: whether to use torch.compile.
        precision: "float32", or "bfloat16" by autocast.
    """
    import torch

    from unet_torch.losses import cross_entropy
    from unet_torch.registry import create

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = create(config, 0).to(device)
    images, labels = (torch.from_numpy(a).to(device) for a in _batch(config, tile, batch))
    images = images.movedim(-1, 1).contiguous()
    if channels_last:
        layout = torch.channels_last if config.spatial_dims == 2 else torch.channels_last_3d
        model, images = model.to(memory_format=layout), images.contiguous(memory_format=layout)
    forward: Any = torch.compile(model, dynamic=False) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.99)

    def run(count: int) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        for _ in range(count):
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = forward(images)
            cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return run


CONTESTANTS: dict[str, tuple[Callable[..., Steps], tuple[Any, ...]]] = {
    "jax": (jax_steps, ("float32",)),
    "torch eager": (torch_steps, (False, False)),
    "torch channels_last": (torch_steps, (True, False)),
    "torch compiled": (torch_steps, (False, True)),
    "jax bfloat16": (jax_steps, ("bfloat16",)),
    "torch bfloat16": (torch_steps, (True, False, "bfloat16")),
    "torch compiled bfloat16": (torch_steps, (True, True, "bfloat16")),
}
"""By name: the function that makes the candidate, and its last arguments. A name in bfloat16 ends with that word."""


def _batch(config: NetworkConfig, tile: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    shape = (batch, *(tile,) * config.spatial_dims, config.in_channels)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return images, (images[..., 0] > 0.3).astype(np.int32)


@cache
def matmul_peak(mode: str) -> float:
    """Measured multiply-adds per second of a large matrix product on the default JAX device, the best of five.

    The numbers are random, because a GPU multiplies ones faster. `mode` is float32, tf32 or bfloat16; on a CPU, tf32 is
    float32.
    """
    import jax
    import jax.numpy as jnp

    n, count = (8192, 4) if jax.default_backend() == "gpu" else (1024, 1)
    a = jax.random.normal(jax.random.key(0), (n, n), jnp.bfloat16 if mode == "bfloat16" else jnp.float32)
    with jax.default_matmul_precision("tensorfloat32" if mode == "tf32" else "highest"):
        product = jax.jit(lambda x: x @ a).lower(a).compile()
    product(a).block_until_ready()
    best, x = np.inf, a
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            x = product(a)
        x.block_until_ready()
        best = min(best, (time.perf_counter() - start) / count)
    return n**3 / best


@dataclass(frozen=True)
class Args:
    widths: tuple[int, ...] = (16, 64)
    """Width of the finest level; each level below has twice as many."""
    levels: int = 5
    """Levels of the network."""
    spatial_dims: Literal[2, 3] = 2
    """2 for images, 3 for volumes."""
    padding: Literal["valid", "same"] = "valid"
    """Padding of the convolutions."""
    tile: int = 572
    """Input pixels per axis."""
    batch: int = 1
    """Tiles per step."""
    rounds: int = 5
    """Number of timed rounds per candidate; the first round is discarded."""
    repeats: int = 1
    """Number of consecutive steps of each candidate in its turn."""
    starts: int = 1
    """Number of times that all of this is repeated in new processes. On a CPU, one process of the same program can be
    some percent faster than another for its whole life."""
    compile: bool = False
    """Also torch.compile (needs a C++ compiler)."""
    profile: bool = False
    """Also measure the time of the JAX step by kind of kernel. On a CPU, give the process one core (taskset -c 0):
    work in XLA's other threads has no name in the trace."""
    out: Path | None = None
    """A JSON file for the results."""


def contestants(args: Args, gpu: bool) -> list[str]:
    """The names in `CONTESTANTS` to measure: bfloat16 only on a GPU, compiled only if requested."""
    left_out = {"bfloat16": not gpu, "compiled": not args.compile}
    return [name for name in CONTESTANTS if not any(left_out.get(word, False) for word in name.split())]


def contestant(name: str, config: NetworkConfig, args: Args) -> Steps:
    make, last = CONTESTANTS[name]
    return make(config, args.tile, args.batch, *last)


def compared(config: NetworkConfig, args: Args, *starts: Mapping[str, float]) -> list[dict[str, Any]]:
    """One row per candidate: seconds, images per second, speed relative to PyTorch eager, share of the peak.

    `starts` holds, for each start of the processes, the seconds of each candidate by name. With several starts, the row
    has the medians, and the relative speed of each start.
    """
    seconds = {name: float(np.median([start[name] for start in starts])) for name in starts[0]}
    macs = (
        3 * facts(config, (args.tile,) * config.spatial_dims)["macs"] * args.batch
    )  # backward: two products for each forward
    return [
        {
            "runtime": name,
            "seconds_per_step": median,
            "steps_per_second": 1 / median,
            "images_per_second": args.batch / median,
            "speed_relative_to_torch_eager": seconds["torch eager"] / median,
            "share_of_matmul_peak": macs / median / matmul_peak("bfloat16" if "bfloat16" in name else "tf32"),
        }
        | ({"speeds": [start["torch eager"] / start[name] for start in starts]} if len(starts) > 1 else {})
        for name, median in seconds.items()
    ]


def main(args: Args) -> int:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # processes share a GPU
    import jax

    lines, profiles = [], {}
    for width in args.widths:
        widths = tuple(width * 2**k for k in range(args.levels))
        config = preset("paper", widths=widths, dropout=0.0, spatial_dims=args.spatial_dims, padding=args.padding)
        starts = []
        for _ in range(args.starts):
            with ExitStack() as stack:
                names = contestants(args, jax.default_backend() == "gpu")
                runs = {name: stack.enter_context(Apart(contestant, name, config, args)) for name in names}
                starts.append(in_turns(runs, args.rounds, args.repeats))
                if args.profile:
                    profiles[width] = runs["jax"].ask(profile, args.rounds)
        lines += [{"width": width} | line for line in compared(config, args, *starts)]
    columns = [name for name, value in lines[0].items() if isinstance(value, float)]
    shown = [(str(x["width"]), x["runtime"], *(f"{x[k]:.3f}" for k in columns)) for x in lines]
    title = f"tile {args.tile}, {args.spatial_dims}-D, {args.padding} padding, batch {args.batch}"
    print_table(title, ("width", "runtime", *columns), shown, right="0 2 3 4 5 6")
    for width, found in profiles.items():
        kinds = [(kind, f"{seconds:.4f}") for kind, seconds in found["kinds"].items()]
        print_table(f"kernels of the JAX step, width {width}", ("kind", "seconds_per_step"), kinds, right="1")
    if args.out:
        record = record_of("train", **{LARGE_PAGES[0]: os.environ.get(LARGE_PAGES[0])}, lines=lines)
        write_record(args.out, record | ({"profiles": profiles} if profiles else {}))
    return 0


if __name__ == "__main__":
    use_large_pages()
    start("train", Args, main, __doc__)
