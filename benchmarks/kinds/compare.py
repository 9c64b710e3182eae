"""Training without settings, compared at equal time with the two recipes, on six kinds of generated images.

    python -m benchmarks.kinds.compare --out benchmarks/results/equal_time/kinds.json

Each program trains in its own process, on one core, for `--minutes` of processor time, including planning and
compilation, as by `unet train DATA --minutes …`, with `--recipe` if the program is a recipe. Its last weights are
scored on further images of the same kind. No rule of the plan was chosen on these images (`benchmarks/kinds/data.py`).

The file is written after each run. Runs that it already holds are not repeated. A page with the table (.md) is written
beside it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data import measure
from unet_jax import compilation_cache
from unet_spec import InputError
from unet_tools.cli import use_large_pages
from unet_tools.console import notes, print_table, warnings_as_notes

from ..equal_time import NO_SETTINGS, PROGRAMS, train_planned
from ..process import check_jobs, run_each
from ..record import markdown_table, mean_and_spread, open_record, start, write_with_page
from .data import KINDS

RECIPES = PROGRAMS[1:3]
COMPARED = (NO_SETTINGS, *RECIPES)


@dataclass(frozen=True)
class Args:
    out: Path
    """The JSON file."""
    minutes: float = 4
    """Processor time of each training, in minutes."""
    kinds: tuple[str, ...] = tuple(KINDS)
    """Kinds of images."""
    programs: tuple[str, ...] = COMPARED
    """Programs to train."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Feature maps per level of the recipes' network."""
    seeds: tuple[int, ...] = (0,)
    """Each program trains once with each seed."""
    jobs: int = 1
    """Number of runs at the same time, each on its own core."""


def run_keys(args: Args) -> Iterator[dict[str, Any]]:
    """The keys of the runs, ordered so that an unfinished table has complete comparisons."""
    unknown = [*(set(args.kinds) - set(KINDS)), *(set(args.programs) - set(COMPARED))]
    if unknown:
        raise InputError(f"unknown: {', '.join(unknown)}; there are: {', '.join([*KINDS, *COMPARED])}")
    for seed in args.seeds:
        for kind in args.kinds:
            for program in args.programs:
                yield {"kind": kind, "program": program, "minutes": args.minutes, "seed": seed}


def run_one(args: Args, key: dict[str, Any]) -> dict[str, Any]:
    """The scores of one program's last weights, its number of steps and its processor time in minutes."""
    training, scored = KINDS[key["kind"]]()
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, compilation_cache(Path(folder) / "xla"), warnings_as_notes():
        run, config, spec, steps = train_planned(training, key, args.widths, Path(folder) / "run")
        spent = time.process_time() - began
        scores = measure(run, config, spec, scored)
    values = {name: float(scores[name]) for name in ("iou", "dice", "pixel_error") if name in scores}
    return values | {"steps": steps, "widths": list(config.widths), "spent": spent / 60}  # type: ignore[attr-defined]


def main(args: Args) -> int:
    check_jobs(args.jobs)
    document = open_record("kinds.compare", args.out, "six kinds of generated images, 8 (3 volumes) to score")
    keys = [key for key in run_keys(args) if not any(key.items() <= run.items() for run in document["runs"])]
    for key, found in run_each(run_one, args, keys, args.jobs):
        document["runs"].append(key | found)
        write_with_page(args.out, document, page(document))
        text = f"{key['kind']}, {key['program']}, seed {key['seed']}: IoU {found['iou']:.4f}; {found['steps']} steps"
        notes.print(text, soft_wrap=True)
    print_table("mean IoU of the classes", HEAD, table(document["runs"]))
    return 0


HEAD = ("kind", "minutes", "seeds", *(f"IoU, {program}" for program in COMPARED), "steps")


def table(runs: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """One row for each kind and time: the IoU of each program, with its standard deviation over the seeds."""
    rows = []
    for minutes, kind in sorted({(run["minutes"], list(KINDS).index(run["kind"])) for run in runs}):
        own = [run for run in runs if (run["minutes"], run["kind"]) == (minutes, list(KINDS)[kind])]
        cells, steps = [], []
        for program in COMPARED:
            found = [run for run in own if run["program"] == program]
            values = [run["iou"] for run in found]
            cells.append(mean_and_spread(values) if values else "")
            steps.append(f"{np.mean([run['steps'] for run in found]):.0f}" if found else "–")
        seeds = len({run["seed"] for run in own})
        rows.append((list(KINDS)[kind], f"{minutes:g}", str(seeds), *cells, ", ".join(steps)))
    return rows


def page(document: dict[str, Any]) -> str:
    """The table in Markdown, with its command, data and hardware."""
    lines = markdown_table(HEAD, table(document["runs"]))
    return (
        f"# Training without settings, on six kinds of images\n\n```\n{document['command']}\n```\n\n"
        f"{document['data']}. {document['date']}; {document['hardware']}; versions in the JSON file beside this "
        "page.\n\nOne core, the minutes of processor time in the table. The last weights, on images that no run "
        f"trained on; mean IoU of the classes.\n\n{lines}\n"
    )


if __name__ == "__main__":
    use_large_pages()
    start("kinds.compare", Args, main, __doc__)
