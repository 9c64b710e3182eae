"""A training step on this CPU: memory and minimum time as planned by the compiler, compared with measurements.

    python -m benchmarks.step_memory --out benchmarks/results/training/step_memory.json

Plans a step of each of ten networks as `unet plan --train --device here` does, then trains for a few steps in another
process. The memory in use is the increase of peak resident memory during the steps, plus the state, which was allocated
before. Times are wall-clock, of the fastest step. Other programs on the machine affect times but not memory. The exit
code is 1 if a memory differs by more than `--within`, or if a step is faster than its minimum time.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from unet_data import membranes
from unet_data.memory import peak_resident, resident, restart_peak
from unet_spec import InputError, NetworkConfig, preset
from unet_tools.console import print_table

from .process import run_apart
from .record import record_of, start, write_record


@dataclass(frozen=True)
class Job:
    """A network, and the settings that determine the memory of its step."""

    config: NetworkConfig
    tile: int
    batch: int = 1
    settings: tuple[tuple[str, Any], ...] = ()


WIDE, NARROW = (32, 64, 128, 256), (16, 32, 64, 128)
JOBS = {
    "paper, 32 …": Job(preset("paper", widths=WIDE), 252, 2),
    "paper, 16 …, elastic": Job(preset("paper", widths=NARROW), 412, 2, (("elastic", 10.0), ("rotation", 180.0))),
    "same, 16 …, batch norm": Job(preset("same", widths=NARROW), 256, 4),
    "same, 32 …, group norm": Job(preset("same", widths=WIDE, norm="group"), 192, 2),
    "same, 16 …, remat": Job(preset("same", widths=NARROW), 256, 4, (("remat", True),)),
    "same, 16 …, accumulated": Job(preset("same", widths=NARROW), 256, 4, (("accumulate", 2),)),
    "3-D, 8 …": Job(preset("same", spatial_dims=3, widths=(8, 16, 32)), 48, 1),
    "resnet34-unet": Job(preset("resnet34-unet"), 128, 2),
    "attention-unet": Job(preset("attention-unet", widths=NARROW), 192, 2),
    "unet++": Job(preset("unet++", widths=NARROW), 160, 2),
}
"""Networks that use memory in different ways: padding, deformation, norms, remat, volumes, families."""


@dataclass(frozen=True)
class Args:
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """A JSON file for the results."""
    only: tuple[str, ...] = tuple(JOBS)
    """Networks to measure."""
    within: float = 0.15
    """Maximum difference of memory, relative to the measurement."""


def settings_of(job: Job) -> Any:
    from unet_jax import TrainSettings

    usual = {"elastic": 0.0, "rotation": 0.0}
    return TrainSettings().replace(tile=job.tile, batch=job.batch, steps=4, **(usual | dict(job.settings)))


def plan_job(name: str) -> dict[str, Any]:
    """The compiler's estimate for a step."""
    from unet_tools.training.plans.step_plan import plan_step

    return plan_step(JOBS[name].config, settings_of(JOBS[name]), "here")[0]


def measure_job(name: str) -> dict[str, float]:
    """Bytes in use during a step, and the seconds of the fastest step."""
    import jax

    from unet_jax.registry import create
    from unet_jax.training.loop import data_spec
    from unet_jax.training.trainer import Trainer

    job = JOBS[name]
    settings, config = settings_of(job), job.config
    side = tuple(size + 32 for size in settings.data.tile_shape(config))
    data = membranes(4, side[-1], seed=0, spatial_dims=len(side))
    config = config.replace(in_channels=data.channels, out_channels=data.class_count)
    model = create(config, 0)
    model.data = data_spec(config, settings, data)
    trainer = Trainer(model, settings, data)
    trainer.compile()
    state = sum(leaf.nbytes for leaf in jax.tree.leaves(trainer.state))
    seconds = []
    with closing(trainer.batches(0)) as batches:
        _, batch = next(batches)
        ctypes.CDLL(None).malloc_trim(0)  # steps must not reuse memory that the compiler freed
        before = resident()
        restart_peak()
        while True:
            began = time.perf_counter()
            trainer.step(batch)
            jax.block_until_ready(trainer.state)
            seconds.append(time.perf_counter() - began)
            if (following := next(batches, None)) is None:
                break
            _, batch = following
    batch_bytes = sum(array.nbytes for array in batch)
    return {"used": peak_resident() - before + state + batch_bytes, "seconds": min(seconds)}


def lines_of(names: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The plan and the measurement of each network."""
    for name in names:
        yield {"network": name, "planned": run_apart(plan_job, name), "measured": run_apart(measure_job, name)}


def difference(line: dict[str, Any]) -> float:
    """Relative difference of planned and used memory."""
    return line["planned"]["memory"] / line["measured"]["used"] - 1


def row(line: dict[str, Any]) -> tuple[str, ...]:
    planned, measured = line["planned"], line["measured"]
    return (
        line["network"],
        f"{planned['batch']} of {'x'.join(map(str, planned['tile']))}",
        f"{planned['memory'] / 2**20:,.0f}",
        f"{measured['used'] / 2**20:,.0f}",
        f"{difference(line):+.0%}",
        f"{planned['bound_seconds']:.2f}, {planned['binds']}",
        f"{measured['seconds']:.2f}",
    )


TITLES = ("network", "tiles", "planned MiB", "used MiB", "difference", "least seconds, by", "seconds")


def main(args: Args) -> int:
    if not sys.platform.startswith("linux"):
        raise InputError("this benchmark reads the memory of a process as Linux reports it")
    if unknown := set(args.only) - set(JOBS):
        raise InputError(f"no network {', '.join(sorted(unknown))}; there are: {', '.join(JOBS)}")
    lines = []
    for line in lines_of(args.only):
        lines.append(line)
        print("  ".join(row(line)), file=sys.stderr, flush=True)
        if args.out:
            write_record(args.out, record_of("step_memory", results=lines))
    print_table("a training step on this CPU", TITLES, [row(line) for line in lines])
    wrong = [line["network"] for line in lines if abs(difference(line)) > args.within]
    wrong += [line["network"] for line in lines if line["measured"]["seconds"] < line["planned"]["bound_seconds"]]
    return bool(wrong)


if __name__ == "__main__":
    start("step_memory", Args, main, __doc__)
