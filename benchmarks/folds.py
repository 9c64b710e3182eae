"""Cross-validation, ensemble and calibration with the commands that a user gives, scored on images kept aside.

    python -m benchmarks.folds --data data/isbi2012 --out benchmarks/results/folds/isbi2012.json

The images of `--keep` take no part in training or in any choice. On the others: `unet train --folds N --steps S`, one
process and one core a fold; `unet evaluate --subset validation --calibrate` of each fold, which chooses its temperature
on the images that validated it; `unet ensemble` of the folds, and of the calibrated folds. Then all of them are scored
on the images kept aside.

With `--folder`, an interrupted benchmark continues: finished folds and calibrations are not repeated.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unet_data import Dataset, split
from unet_spec import InputError, is_checkpoint
from unet_tools.arguments.data import open_data

from .process import check_jobs, run_each
from .record import markdown_table, mean_and_spread, record_of, start, write_with_page

MEASURES = ("iou", "dice", "pixel_error", "v_rand", "v_info", "ap", "ece", "nll")
"""Scores of `unet evaluate --json` that the table has, where all rows have them."""


@dataclass(frozen=True)
class Args:
    data: str
    """Labelled images."""
    out: Path
    """The JSON file."""
    keep: str = "last"
    """Images to keep aside, as --validate of unet train: last is the last sixth; i/n is the i-th of n folds."""
    folds: int = 5
    """Number of folds."""
    steps: int = 400
    """Number of steps of each training."""
    jobs: int = 1
    """Number of trainings at the same time, each on its own core. The first fold trains alone: it chooses the network
    and the settings of all."""
    folder: Path | None = None
    """Folder for the data and the runs; kept. Default: a temporary one."""


def unet(*words: str | Path) -> str:
    """What the command `unet …` prints. Raises InputError if it fails."""
    command = ["unet", *map(str, words)]
    done = subprocess.run([Path(sys.executable).with_name("unet"), *command[1:]], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(command)} ended with exit code {done.returncode}: {done.stderr[-800:]}")
    return done.stdout


def write_images(dataset: Dataset, folder: Path) -> None:
    """Writes images and labels, or object numbers where there are some, as TIFFs that `unet train` reads."""
    labels = dataset.instances or dataset.labels
    assert labels is not None
    for index, name in enumerate(dataset.names):
        for part, array in (("images", np.asarray(dataset.images[index])), ("labels", np.asarray(labels[index]))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            kind = "rgb" if array.ndim == 3 and array.shape[-1] == 3 else "minisblack"
            pixels = array.astype(np.uint16) if part == "labels" else np.squeeze(array)
            tifffile.imwrite(folder / part / f"{name.replace('/', '-')}.tif", pixels, photometric=kind)


def train_fold(args: tuple[Path, Args], number: int) -> None:
    """Trains one fold, unless it is finished."""
    folder, flags = args
    fold = ("--folds", str(flags.folds), "--fold", str(number), "--steps", str(flags.steps))
    unet("train", folder / "training", "--out", folder / "runs", *fold)


def calibrate_fold(args: tuple[Path, Args], number: int) -> dict[str, Any]:
    """Calibrates one fold on its validation images. Returns `calibration.json`."""
    run, to = args[0] / "runs" / f"fold-{number}", args[0] / "calibrated" / f"fold-{number}"
    if not is_checkpoint(to):
        unet("evaluate", run / "best", args[0] / "training", "--subset", "validation", "--calibrate", to)
    found = json.loads((to / "calibration.json").read_text("utf-8"))
    return {name: value for name, value in found.items() if name != "data"}  # a folder of this run


def score(args: tuple[Path, Args], checkpoint: str) -> dict[str, Any]:
    """The scores of a checkpoint on the images kept aside."""
    found = json.loads(unet("evaluate", args[0] / checkpoint, args[0] / "kept", "--json"))
    return {name: found[name] for name in MEASURES if name in found}


def main(args: Args) -> int:
    check_jobs(args.jobs)
    training, kept = split(open_data(args.data), args.keep)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.folder or Path(temporary)).resolve()
        for part, dataset in (("training", training), ("kept", kept)):
            write_images(dataset, folder / part)
        given, numbers = (folder, args), list(range(1, args.folds + 1))
        list(run_each(train_fold, given, numbers[:1], 1))
        list(run_each(train_fold, given, numbers[1:], args.jobs))
        unet("train", folder / "training", "--out", folder / "runs", "--folds", str(args.folds))  # the table of scores
        calibrations = dict(run_each(calibrate_fold, given, numbers, args.jobs))
        unet("ensemble", folder / "runs", "-o", folder / "ensemble")
        members = [folder / "calibrated" / f"fold-{number}" for number in numbers]
        unet("ensemble", *members, "-o", folder / "ensemble-calibrated")
        folds = [f"runs/fold-{number}/best" for number in numbers]
        every = [*folds, *(f"calibrated/fold-{number}" for number in numbers), "ensemble", "ensemble-calibrated"]
        scores = dict(run_each(score, given, every, args.jobs))
        about = json.loads((folder / "runs" / "fold-1" / "plan.json").read_text("utf-8"))
        validated = json.loads((folder / "runs" / "folds.json").read_text("utf-8"))["scores"]
    found = {"scores": scores, "validated": validated, "plan": about}
    data = f"{Path(args.data).name}: {len(training)} images in {args.folds} folds, {len(kept)} kept aside ({args.keep})"
    calibration = [calibrations[number] for number in numbers]
    record = record_of("folds", data=data, steps=args.steps, calibration=calibration, **found)
    write_with_page(args.out, record, page(record, args.folds))
    print(page(record, args.folds))
    return 0


def rows(record: dict[str, Any], folds: int) -> tuple[list[str], list[list[str]]]:
    """The columns and rows of the table: one network (mean and spread over the folds), and the ensembles."""
    scores = record["scores"]
    names = [name for name in MEASURES if all(name in found for found in scores.values())]
    lines = []
    for title, paths in (
        ("one fold", [f"runs/fold-{n}/best" for n in range(1, folds + 1)]),
        ("one fold, calibrated", [f"calibrated/fold-{n}" for n in range(1, folds + 1)]),
        ("ensemble of the folds", ["ensemble"]),
        ("ensemble of the calibrated folds", ["ensemble-calibrated"]),
    ):
        lines.append([title, *(mean_and_spread([scores[path][name] for path in paths]) for name in names)])
    return ["images kept aside", *names], lines


def page(record: dict[str, Any], folds: int) -> str:
    """The tables in Markdown, with command, data and hardware."""
    head, lines = rows(record, folds)
    validated = record["validated"]
    names = [name for name in head[1:] if name in validated]
    own = [["best checkpoint of each fold", *(mean_and_spread(validated[name]["folds"]) for name in names)]]
    temperatures = ", ".join(f"{each['temperature']:.3f}" for each in record["calibration"])
    return (
        f"# Folds, ensemble, calibration\n\n```\n{record['command']}\n```\n\n{record['data']}; {record['steps']} "
        f"steps a fold. {record['date']}; {record['hardware']}; versions in the JSON file beside this "
        f"page.\n\n{markdown_table(head, lines)}\n\nMean ± standard deviation over the folds. The images kept aside "
        "took part in no training and no choice, except that V_Rand and V_Info are those of the best threshold.\n\n"
        f"{markdown_table(['each fold on its own validation images', *names], own)}\n\nTemperatures of the folds, each "
        f"chosen on the fold's validation images: {temperatures}.\n"
    )


if __name__ == "__main__":
    start("folds", Args, main, __doc__)
