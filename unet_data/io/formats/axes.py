"""Axes given by the user, for files that do not state their axes."""

from __future__ import annotations

from collections.abc import Sequence

from unet_spec.errors import InputError

LETTERS = "TZCYXSQ"
"""Time, depth, channel, row, column, colour samples (also a channel), and any other axis."""


def check_axes(axes: str) -> None:
    """Raises InputError for invalid axes: unknown letters, a letter twice, no Y or X, two channel axes."""
    if not axes:
        return
    wrong = [letter for letter in axes if letter not in LETTERS]
    twice = [letter for letter in axes if axes.count(letter) > 1]
    if wrong or twice or not set("YX") <= set(axes) or set("CS") <= set(axes):
        problem = (
            f"{wrong[0]!r} is not one of them" if wrong
            else f"{twice[0]} occurs twice" if twice
            else "Y and X are missing" if not set("YX") <= set(axes)
            else "C and S are both channels"
        )  # fmt: skip
        raise InputError(
            f"axes {axes!r}: {problem}; write letters of {LETTERS} in the order of the file, such as TZYX or ZCYX"
        )


def named_axes(
    named: str, shape: Sequence[int], label: bool, where: object, own: str = ""
) -> tuple[str, tuple[int, ...]]:
    """The axes given by the user, and their lengths.

    Args:
        named: letters in the order of the file.
        shape: shape of the file.
        label: whether it is a label, which may lack the channel axis of its image.
        where: the file, for messages.
        own: the axes that the file states, for messages.

    Raises:
        InputError: the file has another number of axes, with and without those of length 1.

    Example:
        >>> named_axes("TZYX", (4, 1, 3, 8, 8), False, "a.tif")
        ('TZYX', (4, 3, 8, 8))
    """
    longer = tuple(n for n in shape if n > 1)
    letters = [named, *(named.translate({ord("C"): None, ord("S"): None}) for _ in range(label))]
    for axes in letters:
        for lengths in (tuple(shape), longer):
            if len(axes) == len(lengths):
                return axes, lengths
    stated = f" ({own})" if own else ""
    raise InputError(f"{where}: --axes {named} names {len(named)} axes, but the file has shape {tuple(shape)}{stated}")
