"""Reads the numbers of label files, before their meaning is determined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from ..io.colours import numbers_of_colours
from ..io.decode import decode
from ..io.facts import ReadSettings

if TYPE_CHECKING:
    from jaxtyping import Shaped

LARGEST = 2**31 - 1
"""The largest object number, since they are stored as int32."""

MAX_CLASSES = 2**16
"""Maximum number of classes with numbers without gaps, or listed ones: results have 16 bits."""


def read_labels(path: str | Path, settings: ReadSettings | None = None) -> Shaped[np.ndarray, "n h w"]:
    """Reads the stored label numbers of a mask file.

    Args:
        path: a PNG or TIFF. Palettes are read as their index (see `decode`), RGB with three equal channels as grey.
        settings: how files are read if there is a choice.

    Returns:
        (N, H, W), boolean or integer; N is the number of pages of a TIFF.

    Raises:
        InputError: the file cannot be read, is a colour mask whose colours the settings do not list, or has floats that
            are not whole numbers.

    Example:
        >>> from unet_data import read_labels, write_stack
        >>> write_stack("mask.png", np.full((1, 4, 5), 255, np.uint8))
        >>> read_labels("mask.png").shape
        (1, 4, 5)
    """
    return one_number(decode(path, "label", settings)[0], path, settings)


def one_number(
    raw: Shaped[np.ndarray, "*n c"], path: str | Path, settings: ReadSettings | None = None
) -> Shaped[np.ndarray, "*n"]:
    """The label number of each decoded pixel, boolean or integer. Raises InputError as `read_labels`."""
    if settings is not None and settings.class_colors:
        return numbers_of_colours(raw, settings.class_colors, path)
    if raw.shape[-1] > 1 and (raw != raw[..., :1]).any():
        colours = np.unique(raw.reshape(-1, raw.shape[-1]), axis=0)
        hexadecimal = colours.shape[-1] == 3 and colours.dtype == np.uint8
        some = ", ".join(_text(colour, hexadecimal) for colour in colours[:4])
        option = f"list them by --class-colors ({_text(colours[0], True)},…), " * hexadecimal
        raise InputError(
            f"{path}: is a colour mask of {len(colours)} colours ({some}{', ...' if len(colours) > 4 else ''}); "
            f"{option}write class indices as grey, or, if each channel is the mask of a class, pass "
            "--labels overlapping"
        )
    return whole_numbers(raw[..., 0], path)


def _text(colour: np.ndarray, hexadecimal: bool) -> str:
    return "#" + "".join(f"{v:02x}" for v in colour) if hexadecimal else str(tuple(int(v) for v in colour))


def whole_numbers(raw: np.ndarray, path: str | Path) -> np.ndarray:
    """Labels as integers, converted from floats if these are whole numbers. Raises InputError."""
    raw = np.asarray(raw)
    if raw.size == 0 or raw.dtype.kind not in "buif":
        raise InputError(f"{path}: labels of shape {raw.shape} and dtype {raw.dtype} cannot be used; give integers")
    if raw.dtype.kind != "f":
        return raw
    # Floats up to 255 are probably 8-bit masks that a tool saved as floats; larger ones become wide integers.
    if missing := int(np.count_nonzero(~np.isfinite(raw))):
        raise InputError(
            f"{path}: is a {raw.dtype} mask with NaN or infinity in {missing} pixels; write a whole number there, "
            "and, if they are not annotated, pass it to --ignore"
        )
    if (raw != np.rint(raw)).any() or np.abs(raw).max() >= 2**31:
        raise InputError(
            f"{path}: is a {raw.dtype} mask with values from {np.min(raw):g} to {np.max(raw):g} that are not all "
            "whole numbers; threshold it and write 0 and 1"
        )
    return raw.astype(np.uint8 if raw.min() >= 0 and raw.max() <= 255 else np.int32)


def parse_numbers(text: str) -> tuple[int, ...]:
    """The numbers in the value of a flag: "1-3,7" is 1, 2, 3, 7.

    Raises InputError if the text has another form, a number occurs twice, or there are too many.
    """
    numbers: list[int] = []
    for part in filter(None, re.split(r"[,\s]+", text)):
        if not (ends := re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)):
            raise InputError(
                f"class numbers {text!r}: {part!r} is neither a number nor a range; write, for example, 0,255 or 1-3"
            )
        first, last = int(ends[1]), int(ends[2] or ends[1])
        if not 0 <= last - first < MAX_CLASSES or last > LARGEST:
            raise InputError(f"class numbers {text!r}: the range {part} is empty or too large")
        numbers += range(first, last + 1)
    if len(set(numbers)) < len(numbers) or len(numbers) > MAX_CLASSES:
        raise InputError(f"class numbers {text!r}: list each number only once, and at most {MAX_CLASSES}")
    return tuple(numbers)


def as_numbers(raw: np.ndarray, listed: tuple[int, ...]) -> np.ndarray:
    """Label numbers; bits become the numbers of other files' binary masks, 0/1 if 1 is listed, else 0/255."""
    return raw.astype(np.int64) * (255 if raw.dtype == bool and 1 not in listed else 1)
