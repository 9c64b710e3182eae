"""The checkpoints that a command joins: named one by one, by their runs, or by the folder of a cross-validation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unet_spec import InputError, is_checkpoint

_FOLD = re.compile(r"fold-(\d+)")


def fold_folders(runs: Path) -> list[Path]:
    """The folders fold-1, fold-2, … of a cross-validation, in the order of their numbers.

    Args:
        runs: the folder that holds them; it need not exist.
    """
    found = [(int(m[1]), p) for p in (runs.iterdir() if runs.is_dir() else ()) if (m := _FOLD.fullmatch(p.name))]
    return [path for _, path in sorted(found)]


def find_members(paths: Sequence[Path]) -> list[Path]:
    """The checkpoints that paths stand for.

    Args:
        paths: of a checkpoint, of a run (its best/ is taken), or of a folder of folds (the best/ of each).

    Raises:
        InputError: a path is none of these, a fold has no checkpoint yet, or a checkpoint is named twice.
    """
    found: list[Path] = []
    for path in paths:
        if is_checkpoint(path):
            found.append(path)
        elif is_checkpoint(path / "best"):
            found.append(path / "best")
        elif folds := fold_folders(path):
            if missing := [fold for fold in folds if not is_checkpoint(fold / "best")]:
                raise InputError(f"{missing[0]} has no best/: train it first, or name the runs that are to be joined")
            found += [fold / "best" for fold in folds]
        else:
            raise InputError(
                f"{path} is no checkpoint, no run with a best/ and no folder with the runs fold-1, fold-2, …"
            )
    known: set[Path] = set()
    for path in found:
        if path.resolve() in known:
            raise InputError(f"{path} is named twice; an ensemble has every member once")
        known.add(path.resolve())
    return found
