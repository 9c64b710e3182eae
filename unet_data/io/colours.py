"""Colours of classes: those for label PNGs, overlays and viewers, and those that encode classes in label pictures."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Shaped, UInt

_CLASS = re.compile(r"(?:([^=#]+)=)?#?([0-9a-fA-F]{6})")

COLOURS = ((0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
           (204, 121, 167))  # fmt: skip
"""(red, green, blue) of each class. From Okabe and Ito 2008: colour-blind readers can distinguish them."""


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a class. The first is black; classes beyond the list repeat the other colours.

    Example:
        >>> colour(0), colour(1) == colour(8)
        ((0, 0, 0), True)
    """
    return COLOURS[0] if not number else COLOURS[1 + (number - 1) % (len(COLOURS) - 1)]


@lru_cache
def parse_class_colors(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and colours of classes: "sky=#0000ff,car=#800000,car=#400000" has two, the second with two colours.

    Args:
        text: hexadecimal colours, all with or all without a name, in the order of the classes. Without names, each
            colour is a class.

    Returns:
        For each class its name ("" without one) and its colours, as 65536 red + 256 green + blue.

    Raises:
        InputError: the text has another form, a colour occurs twice, or only some classes have names.

    Example:
        >>> parse_class_colors("#000000,#0000ff")
        (('', (0,)), ('', (255,)))
    """
    found: dict[str, list[int]] = {}
    for index, part in enumerate(filter(str.strip, text.split(","))):
        if not (match := _CLASS.fullmatch(part.strip())):
            raise InputError(
                f"class colors {text!r}: {part.strip()!r} is not a colour; write #000000,#800000 or, with names, "
                "sky=#000000,car=#800000"
            )
        found.setdefault((match[1] or "").strip() or str(index), []).append(int(match[2], 16))
    each = [color for colors in found.values() for color in colors]
    if len(set(each)) < len(each):
        raise InputError(f"class colors {text!r}: list each colour only once")
    named = [name for name in found if not name.isdigit()]
    if named and len(named) < len(found):
        raise InputError(f"class colors {text!r}: name all classes or none")
    return tuple((name if named else "", tuple(colors)) for name, colors in found.items())


def numbers_of_colours(pixels: Shaped[np.ndarray, "*n c"], listed: str, where: object) -> UInt[np.ndarray, "*n"]:
    """The class number of each pixel, by its colour.

    Args:
        pixels: (*n, 3), or (*n, 1) if red, green and blue are equal; 8-bit.
        listed: see `parse_class_colors`.
        where: the file, for messages.

    Raises:
        InputError: pixels have another form, or a colour is not listed. The message names it, the number of its pixels
            and the position of the first one.

    Example:
        >>> numbers_of_colours(np.array([[0, 0, 255], [0, 0, 0]], np.uint8), "#000000,#0000ff", "a.png").tolist()
        [1, 0]
    """
    pixels = np.asarray(pixels)
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    if pixels.dtype != np.uint8 or pixels.shape[-1] not in (1, 3):
        raise InputError(
            f"{where}: has {pixels.shape[-1]} channel(s) of {pixels.dtype}; classes by colour need 8-bit RGB or grey"
        )
    classes = parse_class_colors(listed)
    code = (np.broadcast_to(pixels, (*pixels.shape[:-1], 3)) * np.array([65536, 256, 1], np.int32)).sum(-1, np.int32)
    colors = np.array([color for _, own in classes for color in own])
    numbers = np.repeat(np.arange(len(classes)), [len(own) for _, own in classes])
    order = np.argsort(colors)
    place = np.minimum(np.searchsorted(colors[order], code), len(colors) - 1)
    if (wrong := colors[order][place] != code).any():
        others, counts = np.unique(code[wrong], return_counts=True)
        worst = int(np.argmax(counts))
        first = np.argwhere(code == others[worst])[0].tolist()
        more = f", and {len(others) - 1} other unlisted colours" if len(others) > 1 else ""
        page = f"page {first[0]}, " if len(first) > 2 and len(code) > 1 else ""
        at = f"{page}row {first[-2]}, column {first[-1]}" if len(first) > 1 else f"{first[0]}"
        raise InputError(
            f"{where}: {counts[worst]} pixels have the colour #{others[worst]:06x}, which --class-colors does not "
            f"list, the first at {at}{more}"
        )
    return numbers[order][place].astype(np.uint8 if len(classes) <= 256 else np.uint16)
