"""Cost of a training step on 4 to 256 TPU chips, estimated by XLA's compiler for TPUs. Needs no TPU.

    pip install '.[tpu]'
    python -m benchmarks.pods --out pods.json

Each row is one network, one way to divide a step and one topology. The batch grows with the number of chips (weak
scaling): with ideal scaling the time of a step is constant. The record is written after each row. Rows that it already
holds are not compiled again, so a stopped command continues, and other `--jobs`, `--ways` and `--chips` add rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from unet_spec import InputError, NetworkConfig, preset
from unet_tools.console import print_table
from unet_tools.training.plans.step_plan import plan_step, prepare_compiler

from .record import record_of, start, write_record


@dataclass(frozen=True)
class Job:
    """A network, its tile size (pixels per axis) and the number of images per step and chip."""

    config: NetworkConfig
    tile: int
    batch: int


JOBS = {
    "paper": Job(preset("paper"), 572, 8),
    "3d": Job(preset("same", spatial_dims=3, widths=(32, 64, 128, 256)), 128, 1),
}
WAYS = {"data": (1, False), "FSDP": (1, True), "space": (4, False)}
"""By name: (number of chips that share an image, whether weights are sharded)."""
TOPOLOGIES = {4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"}
"""Topology of a TPU v5e or v6e by number of chips."""


@dataclass(frozen=True)
class Args:
    out: Path | None = None
    """A JSON file for the results."""
    jobs: tuple[str, ...] = tuple(JOBS)
    """Networks: paper (figure 1, 572 x 572, 8 images per chip), 3d (four levels from 32, 128³, 1 volume per chip)."""
    ways: tuple[str, ...] = tuple(WAYS)
    """How a step is divided: data (by images), FSDP (also the weights), space (four chips share an image)."""
    chips: tuple[int, ...] = tuple(TOPOLOGIES)
    """Numbers of chips."""
    generation: str = "v5e"
    """Generation of the TPU: v5e or v6e."""


def settings_of(job: Job, way: str, chips: int) -> Any:
    """The settings of a bfloat16 step in which each chip has as many pixels as `job.batch` images."""
    from unet_jax.training.settings import TrainSettings

    space, fsdp = WAYS[way]
    return TrainSettings().replace(batch=job.batch * chips, tile=job.tile, space=space, fsdp=fsdp, precision="bfloat16")


def lines_of(
    args: Args,
    done: Sequence[dict[str, Any]] = (),
    plan: Callable[..., tuple[dict[str, Any], bool]] = plan_step,
) -> Iterator[dict[str, Any]]:
    """A row for each job, way and number of chips that is not `done`. If it cannot be compiled, "refused" holds the
    reason."""
    for name, way, chips in product(args.jobs, args.ways, args.chips):
        job = JOBS[name]
        device = f"tpu-{args.generation}:{TOPOLOGIES[chips]}"
        line: dict[str, Any] = {"job": name, "way": way, "chips": chips, "device": device}
        if any(line.items() <= other.items() for other in done):
            continue
        try:
            cost, _ = plan(job.config, settings_of(job, way, chips), device)
        except InputError as e:
            yield line | {"refused": str(e)}
            continue
        yield line | cost


def row(line: dict[str, Any]) -> tuple[str, ...]:
    head = (line["job"], line["way"], str(line["chips"]))
    if "refused" in line:
        return (*head, "", line["refused"], "", "", "")
    collectives = line["collectives"] or {}
    sent = sum(size for _, size in collectives.values())
    rate = line["batch"] / line["bound_seconds"] if line["bound_seconds"] else math.nan
    return (
        *head,
        f"{line['memory'] / 2**30:.1f}{'' if line['fits'] else ' (too much)'}",
        ", ".join(f"{n} {kind}" for kind, (n, _) in sorted(collectives.items())),
        f"{sent / 2**20:,.0f}",
        f"{1e3 * line['bound_seconds']:.0f}, {line['binds']}, {rate:,.0f}" if line["fits"] else "",
        f"{line['compile_seconds']:.0f}",
    )


TITLES = (
    "network",
    "way",
    "chips",
    "GiB per chip",
    "collectives",
    "their MiB",
    "least ms, by, images/s",
    "compiled in s",
)


def stored_lines(out: Path | None) -> list[dict[str, Any]]:
    """The rows of the record at `out`, if there is one."""
    return json.loads(out.read_text(encoding="utf-8"))["lines"] if out and out.exists() else []


def main(args: Args) -> int:
    unknown = [*(set(args.jobs) - set(JOBS)), *(set(args.ways) - set(WAYS))]
    unknown += [str(n) for n in args.chips if n not in TOPOLOGIES]
    if unknown:
        known = ", ".join([*JOBS, *WAYS, *map(str, TOPOLOGIES)])
        raise InputError(f"unknown: {', '.join(unknown)}; there are {known}")
    prepare_compiler("tpu-")
    lines = stored_lines(args.out)
    for line in lines_of(args, tuple(lines)):
        lines.append(line)
        print("  ".join(row(line)), flush=True)
        if args.out:
            lines.sort(key=lambda line: (line["job"], list(WAYS).index(line["way"]), line["chips"]))
            write_record(args.out, record_of("pods", lines=lines))
    print_table(None, TITLES, [row(line) for line in lines], right="2 3 5 7")
    return 0


if __name__ == "__main__":
    start("pods", Args, main, __doc__)
