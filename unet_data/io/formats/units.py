"""Units of length, and pixel sizes that a user states."""

from __future__ import annotations

import math
import re

from unet_spec.errors import InputError

METRES = {"nm": 1e-9, "Å": 1e-10, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0}
"""Length in metres of each unit, by its symbol."""

_WORDS = {
    "nanometer": "nm",
    "angstrom": "Å",
    "micrometer": "µm",
    "micron": "µm",
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
