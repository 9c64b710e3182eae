"""Units of length, and pixel sizes that a user states."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

from unet_spec.errors import InputError

METRES = {"nm": 1e-9, "Å": 1e-10, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
"""Length in metres of each unit, by its symbol."""

_WORDS = {
    "nanometer": "nm",
    "angstrom": "Å",
    "micrometer": "µm",
    "micron": "µm",
    "microns": "µm",
    "um": "µm",
    "μm": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "meter": "m",
}


def symbol(unit: str) -> str:
    """The symbol of a unit of length, from any spelling in files; an unknown unit is returned unchanged.

    Example:
        >>> symbol("micrometer"), symbol("micron"), symbol("furlong")
        ('µm', 'µm', 'furlong')
    """
    return _WORDS.get(unit, unit)


_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def plain_unit(text: str) -> str:
    """A unit as text, from a file that escapes letters beyond ASCII: ImageJ writes \\u00B5m, XML &#181;m.

    Example:
        >>> plain_unit("\\\\u00B5m"), plain_unit("&#181;m")
        ('µm', 'µm')
    """
    return html.unescape(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), text))


def in_one_unit(size: Sequence[float], units: Sequence[str]) -> tuple[tuple[float, ...] | None, str]:
    """A pixel size whose axes have their own units, in the unit of the last axis.

    Args:
        size: pixel size along each axis.
        units: unit of each; "" if the file does not state it, which is taken to be that of the others.

    Returns:
        The pixel size and its unit; (None, "") if units differ and one of them is unknown.

    Example:
        >>> in_one_unit((300.0, 0.1, 0.1), ("nm", "µm", "µm"))
        ((0.3, 0.1, 0.1), 'µm')
    """
    stated = [unit for unit in units if unit]
    if len({symbol(unit) for unit in stated}) <= 1:
        return tuple(size), stated[-1] if stated else ""
    target, own = stated[-1], [symbol(unit or stated[-1]) for unit in units]
    if not all(unit in METRES for unit in own):
        return None, ""
    pairs = zip(size, own, strict=True)
    return tuple(float(f"{length * METRES[unit] / METRES[symbol(target)]:.12g}") for length, unit in pairs), target


_PIXEL_SIZE = re.compile(r"([\d.,eE+\-\s]+?)\s*([^\W\d_]+)\s*")


def parse_pixel_size(text: str) -> tuple[tuple[float, ...], str]:
    """The numbers and the unit of `ReadSettings.pixel_size`; ((), "") for "".

    Raises:
        InputError: the text is something else.

    Example:
        >>> from unet_data.io.formats.units import parse_pixel_size
        >>> parse_pixel_size("5,1,1 mm"), parse_pixel_size("0.65um")
        (((5.0, 1.0, 1.0), 'mm'), ((0.65,), 'µm'))
    """
    if not text:
        return (), ""
    numbers, unit = parts.groups() if (parts := _PIXEL_SIZE.fullmatch(text)) else ("", "")
    try:
        size, unit = tuple(map(float, numbers.split(","))), symbol(unit)
    except ValueError:
        size = ()
    if unit not in METRES or not 1 <= len(size) <= 3 or not all(0 < length < math.inf for length in size):
        raise InputError(
            f"pixel_size is {text!r}; it must be one to three numbers above 0, along z, y, x, and a unit "
            f"({', '.join(METRES)}), such as '5,1,1 mm' or '0.65 µm'"
        )
    return size, unit
