"""The orientation tag of EXIF and TIFF: turns pictures, and windows of them, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Shaped

TAG = 274
_STEPS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By the tag's value: whether rows and columns are swapped, then rows mirrored, then columns."""


def turned(pixels: Shaped[np.ndarray, "*n h w c"], orientation: int) -> Shaped[np.ndarray, "*n h2 w2 c"]:
    """Pictures turned upright, as viewers show them.

    Example:
        >>> turned(np.arange(6).reshape(2, 3, 1), 6)[..., 0].tolist()
        [[3, 0], [4, 1], [5, 2]]
    """
    swap, rows, columns = _STEPS[orientation]
    pixels = pixels.swapaxes(-3, -2) if swap else pixels
    return pixels[..., :: -1 if rows else 1, :: -1 if columns else 1, :]


def stored_window(rows: slice, columns: slice, size: tuple[int, int], orientation: int) -> tuple[slice, slice]:
    """The window of the stored picture for a window of the turned one, whose size is (rows, columns)."""
    swap, flip_rows, flip_columns = _STEPS[orientation]
    rows = slice(size[0] - rows.stop, size[0] - rows.start) if flip_rows else rows
    columns = slice(size[1] - columns.stop, size[1] - columns.start) if flip_columns else columns
    return (columns, rows) if swap else (rows, columns)


def swaps(orientation: int) -> bool:
    """Whether turning exchanges height and width."""
    return _STEPS[orientation][0]
