"""Finds the members of an ensemble: checkpoints, runs, or the folder of a cross-validation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unet_spec import InputError, is_checkpoint

_FOLD = re.compile(r"fold-(\d+)")


def fold_folders(runs: Path) -> list[Path]:
    """The folders fold-1, fold-2, … of a cross-validation, in numerical order.

    Args:
        runs: their parent folder, which need not exist.
    """
    folds = [(int(m[1]), p) for p in (runs.iterdir() if runs.is_dir() else ()) if (m := _FOLD.fullmatch(p.name))]
    return [path for _, path in sorted(folds)]


def find_members(paths: Sequence[Path]) -> list[Path]:
    """Finds the checkpoints at some paths.

    Args:
        paths: paths of checkpoints, runs (best/ is used), or a folder of folds (best/ of each).

    Raises:
        InputError: a path is none of these, a fold has no checkpoint yet, or a checkpoint is listed twice.
    """
    checkpoints: list[Path] = []
    for path in paths:
        if is_checkpoint(path):
            checkpoints.append(path)
        elif is_checkpoint(path / "best"):
            checkpoints.append(path / "best")
        elif folds := fold_folders(path):
            if missing := [fold for fold in folds if not is_checkpoint(fold / "best")]:
                raise InputError(f"{missing[0]} has no best/: finish its training first, or list the runs to combine")
            checkpoints += [fold / "best" for fold in folds]
        else:
            raise InputError(
                f"{path} is neither a checkpoint, nor a run with a best/, nor a folder with the runs fold-1, fold-2, …"
            )
    seen: set[Path] = set()
    for path in checkpoints:
        if path.resolve() in seen:
            raise InputError(f"{path} is listed twice; list each member of an ensemble once")
        seen.add(path.resolve())
    return checkpoints
