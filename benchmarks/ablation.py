"""The ablation table: each recipe as it is, then with one of its ingredients removed, over several seeds.

    python -m benchmarks.ablation --data data/isbi2012 --out benchmarks/results/ablation/ablation.json

Trains on the first five sixths and scores the last weights on the last sixth. The file is written after each run. Runs
that it already holds are not repeated, so a table can be made in several sessions. A page with the table (.md) is
written beside it. `--jobs 2` trains two at once, each on its own share of the cores, which uses the cores best if
images are small; on a GPU they share it. The minutes in the table are those of training, without scoring.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data import measure, split
from unet_data.inference.views import augmented
from unet_jax import RECIPES, JaxRuntime, TrainSettings, from_pretrained, train
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.planning.recipes import RecipeName
from unet_spec import InputError, NetworkConfig, preset
from unet_spec.files import writing
from unet_tools.arguments.data import open_data
from unet_tools.checking.bench.hardware import gpus, hardware, versions
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, print_table

from .record import command_of, mean_and_spread, start, write_record

Change = Callable[[TrainSettings, NetworkConfig], tuple[TrainSettings, NetworkConfig]]

MEASURES = ("v_rand", "v_info", "pixel_error", "iou")
VIEWS = "flips+turns"
"""Test-time augmentation of the second set of scores. The paper's scores on EM images use rotations."""


def _set(**changes: Any) -> Change:
    return lambda s, c: (s.replace(**changes), c)


def _network(**changes: Any) -> Change:
    return lambda s, c: (s, c.replace(**changes))


WHOLE = "whole"
EXACT = {"elastic": 0.0, "rotation": 0.0, "turns": True}
"""Augmentation that moves pixels by whole numbers, without interpolation."""
_AUGMENTATIONS: dict[str, Change] = {
    "no elastic deformation": _set(elastic=0.0),
    "no rotation": _set(rotation=0.0),
    "no mirror images": _set(mirror=False),
    "no grey values": _set(contrast=0.0, brightness=0.0),
    "no augmentation": _set(augmentation=NONE),
}
VARIANTS: dict[RecipeName, dict[str, Change]] = {
    "paper-2015": {
        WHOLE: _set(),
        "no border weights": _set(border_weight=0.0),
        "no class balancing": _set(balance=False),
        **_AUGMENTATIONS,
        "no dropout": _network(dropout=0.0),
        "momentum 0.9": _set(momentum=0.9, learning_rate=3e-2),  # 10 times the rate: the same effective step size
        "constant rate": _set(schedule="constant"),
        "no clipping": _set(clip=None),
    },
    "modern": {
        WHOLE: _set(),
        "no EMA": _set(ema=None),
        "no Dice": _set(loss="cross_entropy"),
        "no label smoothing": _set(smoothing=0.0),
        "no batch norm": _network(norm="none"),
        "group norm": _network(norm="group"),
        **_AUGMENTATIONS,
        "no interpolation": _set(**EXACT),
        "no interpolation, group norm": lambda s, c: (s.replace(**EXACT), c.replace(norm="group")),
        "a fifth interpolated": _set(turns=True, share=0.2),
        "constant rate": _set(schedule="constant"),
        "no weight decay": _set(weight_decay=0.0),
        "no clipping": _set(clip=None),
        "with border weights": _set(border_weight=10.0),
        "with class balancing": _set(balance=True),
    },
}


@dataclass(frozen=True)
class Args:
    data: str
    """Labelled images."""
    out: Path
    """The JSON file with the results."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Feature maps per level."""
    steps: int = 1500
    """Number of optimizer steps per run."""
    tile: int = 252
    """Input pixels per axis of a training tile."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each variant is trained once with each seed."""
    recipes: tuple[RecipeName, ...] = ("paper-2015", "modern")
    """Tables to make."""
    only: tuple[str, ...] = ()
    """Names of the variants to train. Default: all."""
    jobs: int = 1
    """Number of runs at the same time."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the network's arithmetic in training."""


@dataclass(frozen=True)
class Job:
    """One training run. `key` identifies it in the file."""

    data: str
    recipe: RecipeName
    variant: str
    seed: int
    steps: int
    tile: int
    widths: tuple[int, ...]
    precision: Literal["float32", "bfloat16"]

    @property
    def key(self) -> dict[str, Any]:
        values = dataclasses.asdict(self) | {"widths": list(self.widths)}
        del values["data"]
        return values


def jobs_of(args: Args) -> Iterator[Job]:
    """The runs, ordered by seed so that an unfinished table has complete comparisons.
    Raises InputError for an unknown variant.
    """
    names = {name for recipe in args.recipes for name in VARIANTS[recipe]}
    if unknown := set(args.only) - names:
        raise InputError(f"no variant {', '.join(sorted(unknown))}; there are: {', '.join(sorted(names))}")
    for seed in args.seeds:
        for recipe in args.recipes:
            for name in VARIANTS[recipe]:
                if not args.only or name in args.only:
                    yield Job(args.data, recipe, name, seed, args.steps, args.tile, args.widths, args.precision)


def run_one(job: Job) -> dict[str, Any]:
    """Trains in a temporary folder. Returns the scores of the last weights, the seconds of training, the hardware."""
    dataset = open_data(job.data)
    training, validation = split(dataset, "last")
    recipe = RECIPES[job.recipe]
    settings = recipe.settings.replace(
        steps=job.steps, tile=job.tile, seed=job.seed, validate_every=job.steps, precision=job.precision
    )
    config = preset("paper", widths=job.widths, in_channels=dataset.channels, **recipe.network)
    settings, config = VARIANTS[job.recipe][job.variant](settings, config)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        train(config, settings, training, None, Path(folder) / "run")
        seconds = time.perf_counter() - start
        model = from_pretrained(Path(folder) / "run" / "last")
        run = JaxRuntime(model).run
        scores = measure(run, config, model.data, validation, objects=True, warp=True)
        viewed = measure(augmented(run, VIEWS), config, model.data, validation, objects=True)
    return (
        scores
        | {f"{name}, {VIEWS}": viewed[name] for name in MEASURES}
        | {
            "seconds": seconds,
            "cores": len(os.sched_getaffinity(0)),
            "gpu": next(iter(gpus()), None),
        }
    )


def run_all(jobs: list[Job], at_once: int) -> Iterable[tuple[Job, dict[str, Any]]]:
    """Each job and its scores, in the order in which the jobs finish."""
    if at_once == 1:
        yield from ((job, run_one(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # a fork of a process that has threads may hang
    shares = context.Queue()
    for share in np.array_split(sorted(os.sched_getaffinity(0)), at_once):
        shares.put({int(core) for core in share})
    with ProcessPoolExecutor(at_once, context, _take_share, (shares,)) as pool:
        coming = {pool.submit(run_one, job): job for job in jobs}
        yield from ((coming[done], done.result()) for done in as_completed(coming))


def _take_share(shares: Any) -> None:
    """Binds this process to its share of the cores, before JAX starts one thread for each core."""
    os.sched_setaffinity(0, shares.get())


def main(args: Args) -> int:
    cores = len(os.sched_getaffinity(0))
    if not 1 <= args.jobs <= cores:
        raise InputError(f"jobs is {args.jobs}; it must lie in 1 … {cores}, the cores of this machine")
    if args.jobs > 1:  # the jobs share a GPU's memory; JAX reads this when it first looks for a GPU
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    training, validation = split(open_data(args.data), "last")
    document: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {"runs": []}
    name = Path(args.data).name
    command = command_of("ablation")
    about = {
        "commands": list(dict.fromkeys([*document.get("commands", ()), command])),
        "data": f"{name}: {len(training)} images to train, {len(validation)} to validate",
        "hardware": "; ".join(dict.fromkeys([*document.get("hardware", "").split("; "), hardware()])).removeprefix(
            "; "
        ),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
    }
    if document["runs"] and document["data"] != about["data"]:
        raise InputError(f"{args.out} is of {document['data']}, not of {about['data']}; give another --out")
    document |= about
    known = [{k: r[k] for k in r if k in Job.__dataclass_fields__} for r in document["runs"]]
    jobs = [job for job in jobs_of(args) if job.key not in known]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for job, scores in run_all(jobs, args.jobs):
        document["runs"].append(job.key | scores)
        write_record(args.out, document)
        with writing(args.out.with_suffix(".md")) as temporary:
            temporary.write_text(page(document))
        line = "  ".join(f"{m} {scores[m]:.4f}" for m in MEASURES)
        notes.print(f"{job.recipe}, {job.variant}, seed {job.seed}: {line}  {scores['seconds']:.0f} s")
    print_table("mean ± standard deviation over the seeds", COLUMNS, table(document["runs"]))
    return 0


SHOWN = (*MEASURES, f"v_rand, {VIEWS}", f"iou, {VIEWS}")
COLUMNS = ("recipe", "variant", "widths, steps", "n", *SHOWN, "minutes of")


def table(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each variant, network and number of steps."""
    lines = []
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for r in runs:
        key = (r["recipe"], tuple(r["widths"]), r["steps"], r["tile"], r["precision"], r["variant"])
        groups.setdefault(key, []).append(r)
    order = [name for variants in VARIANTS.values() for name in variants]
    for key in sorted(groups, key=lambda k: (list(VARIANTS).index(k[0]), *k[1:5], order.index(k[5]))):
        own, (recipe, widths, steps, tile, precision, variant) = groups[key], key
        cells = []
        for m in SHOWN:
            values = [r[m] for r in own]
            cells.append(mean_and_spread(values, 4))
        spent: dict[str, list[float]] = {}
        for r in own:
            spent.setdefault(r["gpu"] or "one core", []).append(r["seconds"] * (1 if r["gpu"] else r["cores"]) / 60)
        costs = ", ".join(f"{np.mean(minutes):.1f} {device}" for device, minutes in spent.items())
        size = f"{widths[0]} … {widths[-1]}, {steps}" + (f", tiles of {tile}" if tile != Args.tile else "")
        size += f", {precision}" if precision != "float32" else ""
        lines.append((recipe, variant, size, str(len(own)), *cells, costs))
    return lines


def page(document: dict[str, Any]) -> str:
    """The table in Markdown, with its commands, data and hardware."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *table(document["runs"])]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    commands = "\n".join(document["commands"])
    return (
        f"# What each ingredient is worth: {document['data']}\n\n```\n{commands}\n```\n\n"
        f"{document['date']}; {document['hardware']}; versions in the JSON file beside this page. The last weights, on "
        f"images that no run trained on, at the best threshold; mean ± standard deviation over n seeds; {VIEWS}: of "
        f"the mean probabilities of eight views.\n\n{lines}\n"
    )


if __name__ == "__main__":
    use_large_pages()
    start("ablation", Args, main, __doc__)
