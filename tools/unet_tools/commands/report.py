"""Measure the best checkpoint of a training run again, and rewrite its report.

RUN is the folder of a training run. Its best/ is measured on the run's validation images. Scores and verdict are
printed and written to RUN/run.json and RUN/report.html (.json, .png).

Example: unet report runs/em
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from unet_data import OpenNetwork
from unet_jax import JaxRuntime, TrainResult, from_pretrained
from unet_jax.training.log import read_log
from unet_spec import InputError, is_checkpoint

from ..console import notes, warnings_as_notes
from ..prediction.object_scores import score_objects
from ..training.beginning import open_parts
from ..training.flags import TrainArgs
from ..training.outcome import print_result
from ..training.stored import stored_run


@dataclass(frozen=True)
class Args:
    run: tyro.conf.Positional[Path]
    """Folder of a training run."""
    data: str = ""
    """Labelled images. Default: the data that the run was trained on."""
    json: bool = False
    """Print the result as JSON."""


def run(args: Args) -> int:
    folder = args.run
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder} has no run.json; give the folder of a training run (unet train DATA --out RUN)")
    if not is_checkpoint(folder / "best"):
        raise InputError(f"{folder} has no best/ yet; unet train --out {folder} --resume continues its training")
    config, settings, data = stored_run(folder)
    if not (args.data or data):
        raise InputError(
            "the run was trained on images from memory, not from files; give the data: unet report RUN --data DATA"
        )
    of_the_run = TrainArgs(args.data or data, folder, resume=True, json=args.json, settings=settings)
    config, _, training, validation, how = open_parts(of_the_run, config)
    if not args.json:
        notes.print(how)
    log = read_log(folder / "log.jsonl", sys.maxsize)
    measured = [record for record in log if "iou" in record]
    result = TrainResult(folder, measured[-1] if measured else {}, {}, log)
    with warnings_as_notes():
        objects = None
        if settings.data.objects or config.distance_head:
            best = from_pretrained(folder / "best")
            network = OpenNetwork(JaxRuntime(best), best.data, folder / "best")
            objects = score_objects(network, network.run, validation, choose=False)
        print_result(of_the_run, config, result, training, validation, objects)
    return 0
