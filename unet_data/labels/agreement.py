"""Checks that the label files of a data set were read in the same way: palettes, white is zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from unet_spec.errors import InputError

from ..io.facts import FileFacts, ReadSettings

Colours = tuple[tuple[int, int, int], ...]


def check_agreement(
    paths: Sequence[Path], facts: Sequence[FileFacts], raws: Sequence[np.ndarray], settings: ReadSettings
) -> None:
    """Raises InputError, which names two files, if label files were read in different ways.

    Args:
        paths: the file of each label.
        facts: the facts of each.
        raws: the numbers that occur in each, in any shape, with or without repetition.
        settings: settings with which they were read. A choice made by the user is not checked.
    """
    if settings.white_is_zero == "auto":
        _same(
            paths,
            facts,
            lambda each: each.white_is_zero == "stored",
            "is marked 'white is zero' and its stored numbers are kept, but {other} is not marked; write "
            "all masks "
            "alike, or pass --white-is-zero stored if their numbers mean the same",
        )
    if settings.palette == "auto":
        _same(
            [path for path, each in zip(paths, facts, strict=True) if each.palette],
            [each for each in facts if each.palette],
            lambda each: each.palette == "index",
            "has a colour palette, read as indices, but {other} has a grey palette, read as grey values; "
            "write all masks "
            "alike, or pass --palette index if the index is the class in all",
        )
        _same_palettes(paths, facts, raws)


def _same(paths: Sequence[Path], facts: Sequence[FileFacts], holds: Callable[[FileFacts], bool], message: str) -> None:
    answers = {holds(each): path for path, each in zip(reversed(paths), reversed(facts), strict=True)}
    if len(answers) == 2:
        raise InputError(f"{answers[True]}: {message.format(other=answers[False].name)}")


def _same_palettes(paths: Sequence[Path], facts: Sequence[FileFacts], raws: Sequence[np.ndarray]) -> None:
    """A number that occurs in one of two labels must have the same colour in both palettes."""
    seen: dict[Colours, tuple[Path, set[int]]] = {}
    for path, each, raw in zip(paths, facts, raws, strict=True):
        if each.palette != "index" or not each.colours:
            continue
        numbers = {int(n) for n in np.unique(raw) if n < len(each.colours)}
        if each.colours in seen:
            seen[each.colours][1].update(numbers)
            continue
        for colours, (other, occurring) in seen.items():
            for n in sorted(numbers | occurring):
                if n < min(len(colours), len(each.colours)) and colours[n] != each.colours[n]:
                    raise InputError(
                        f"{other}: number {n} has the colour {colours[n]} in its palette, but {each.colours[n]} in "
                        f"that of {path.name}; write all masks with one palette, or pass --palette index if the "
                        "numbers mean the same in all"
                    )
        seen[each.colours] = (path, numbers)
