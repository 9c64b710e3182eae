"""Cross-validation: a run for each fold of the data, in RUNS/fold-1, fold-2, …, and a summary of their scores.

RUNS/folds.json contains the scores of each fold's best checkpoint on its validation images, with their mean and spread
(sample standard deviation). Repeating an interrupted command continues it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.io.stores.remote import absolute
from unet_jax.training.log import read_log
from unet_jax.training.run.selection import is_best, logged_measure
from unet_jax.training.run.train_state_folder import latest_step
from unet_spec import InputError, is_checkpoint
from unet_spec.files import writing

from ..arguments.processes import ProcessFlags, launched
from ..console import notes, print_json, print_table, to_json
from .flags import NetworkFlags, TrainArgs
from .stored import is_run_record, stored_run

RECORD = "folds.json"


def run_folds(args: TrainArgs, train: Callable[[TrainArgs], int]) -> int:
    """Trains the unfinished folds, then prints and writes the scores of all folds.

    Args:
        args: arguments of `unet train`; `out` is the folder of the runs.
        train: trains one run and returns its exit code.

    Returns:
        0, or the exit code of a run that stopped before its last step.

    Raises:
        InputError: flags cannot be combined with folds, or the folder contains runs of other folds.
    """
    runs, count = _checked(args)
    chosen = range(1, count + 1) if args.fold is None else (args.fold,)
    for number in chosen:
        out = runs / f"fold-{number}"
        if finished(out):
            notes.print(f"fold {number} of {count}: {out} is finished")
            continue
        one, line = _fold(args, runs, number, count)
        notes.print(f"fold {number} of {count}: {line}")
        with contextlib.redirect_stdout(io.StringIO()) if args.json else contextlib.nullcontext():
            if code := train(one):
                return code
    left = [n for n in range(1, count + 1) if not finished(runs / f"fold-{n}")]
    if left:
        notes.print(f"not trained yet: fold {', '.join(map(str, left))} of {count}; --fold N trains one")
        return 0
    record = {"folds": count, "scores": cross_validated([_scores(runs / f"fold-{n}") for n in range(1, count + 1)])}
    with writing(runs / RECORD) as temporary:
        temporary.write_text(to_json(record) + "\n")
    if args.json:
        print_json(record)
        return 0
    rows = []
    for name, summary in record["scores"].items():
        each = [f"{value:.4f}" for value in summary["folds"]]
        rows.append((name, f"{summary['mean']:.4f} ± {summary['spread']:.4f}", *each))
    columns = ("measure", "mean ± spread", *(f"fold {n}" for n in range(1, count + 1)))
    title = f"{count} folds of {args.data}, each measured on its validation images"
    print_table(title, columns, rows, right=" ".join(map(str, range(1, count + 2))))
    join = shlex.join(["unet", "ensemble", str(runs), "-o", str(runs / "ensemble")])
    notes.print(f"next: {join}")
    return 0


def _checked(args: TrainArgs) -> tuple[Path, int]:
    if args.folds is None:
        raise InputError(f"--fold {args.fold} needs --folds, the number of folds")
    if args.folds < 2:
        raise InputError(f"--folds is {args.folds}; it must be 2 or more")
    if args.fold is not None and not 1 <= args.fold <= args.folds:
        raise InputError(f"--fold is {args.fold}; it must be 1 to {args.folds}")
    if not args.data or args.out is None:
        raise InputError("give the data and --out, the folder for the runs: unet train DATA --out RUNS --folds 5")
    flags = args.distributed
    together = args.fold is None and flags.processes is None and launched(os.environ)
    if (flags.processes or 1) > 1 or flags.coordinator or together:
        raise InputError(
            "--folds trains the runs one after the other in one process; for several processes, give "
            "each its own --fold"
        )
    repeats = args.network.config is not None and is_run_record(args.network.config)
    if args.settings.validation.validate != "auto" and not repeats:
        raise InputError(
            f"--validate {args.settings.validation.validate}: --folds itself chooses the validation "
            "images; leave out --validate"
        )
    if (args.out / "run.json").exists():
        raise InputError(f"{args.out} is a run; give another folder for the runs of the folds")
    for number in range(1, args.folds + 1):
        out = args.out / f"fold-{number}"
        if not (out / "run.json").exists():
            continue
        _, settings, data = stored_run(out)
        if settings.validation.validate != f"{number}/{args.folds}":
            raise InputError(
                f"{out} was validated on {settings.validation.validate}, not on {number}/{args.folds}; give "
                "another folder, or the same number of folds"
            )
        if data and absolute(Path(data)) != absolute(Path(args.data)):
            raise InputError(f"{out} was trained on {data}, not on {args.data}; give another folder")
    return args.out, args.folds


def finished(out: Path) -> bool:
    """Whether a run has taken all of its steps and has a best checkpoint.

    Args:
        out: the run folder, which need not exist.
    """
    if not (out / "run.json").exists() or not is_checkpoint(out / "best"):
        return False
    return (latest_step(out / "state") or 0) >= stored_run(out)[1].optimisation.steps


def _fold(args: TrainArgs, runs: Path, number: int, count: int) -> tuple[TrainArgs, str]:
    """The flags of one fold, and a line about its start. Every fold uses the network and the settings of the first
    existing run, so that they can form an ensemble."""
    out = runs / f"fold-{number}"
    plain = {"folds": None, "fold": None, "json": args.json, "distributed": ProcessFlags(processes=1)}
    if (out / "run.json").exists():
        same = {"recipe": None, "network": NetworkFlags(), "settings": stored_run(out)[1], "resume": True}
        return dataclasses.replace(args, out=out, **plain, **same), f"continuing {out} with its own settings"
    others = [runs / f"fold-{n}" / "run.json" for n in range(1, count + 1) if n != number]
    first = next((path for path in others if path.exists()), None)
    settings, fields = args.settings, {}
    if first is not None:
        settings = stored_run(first.parent)[1]
        fields = {"recipe": None, "network": NetworkFlags(config=first)}
    settings = settings.replace(validate=f"{number}/{count}")
    like = f", with the network and settings of {first.parent}" if first else ""
    return dataclasses.replace(args, out=out, settings=settings, resume=False, **plain, **fields), f"{out}{like}"


def _scores(out: Path) -> dict[str, float]:
    """The scores of the best checkpoint, from the run's log."""
    select, best = stored_run(out)[1].validation.select, {}
    for record in read_log(out / "log.jsonl", 2**62):
        if "loss" not in record and len(record) > 1:
            best = record if is_best(logged_measure(select, record), record, best) else best
    return {name: value for name, value in best.items() if name != "step"}


def cross_validated(folds: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Mean, spread (standard deviation with n − 1) and single values of the scores that every fold has.

    Args:
        folds: the scores of each fold.

    Example:
        >>> found = cross_validated([{"iou": 0.5}, {"iou": 0.75, "dice": 0.8}])
        >>> list(found), found["iou"]["mean"], round(found["iou"]["spread"], 4)
        (['iou'], 0.625, 0.1768)
    """
    common = [name for name in folds[0] if all(name in fold for fold in folds)]
    values = {name: [float(fold[name]) for fold in folds] for name in common}
    return {
        name: {
            "mean": float(np.mean(found)),
            "spread": float(np.std(found, ddof=1)) if len(found) > 1 else math.nan,
            "folds": found,
        }
        for name, found in values.items()
    }
