"""Connected regions of a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Int32, Shaped


def regions(inside: Shaped[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
    """Numbers the connected regions of values other than 0; neighbours share an edge (2-D) or a face (3-D).

    Args:
        inside: (H, W) or (D, H, W), bool or integer.

    Returns:
        1 … n in the regions, 0 elsewhere.

    Example:
        >>> regions(np.array([[True, False, True], [True, False, False]])).tolist()
        [[1, 0, 2], [1, 0, 0]]
    """
    from scipy import ndimage

    numbered = np.empty(inside.shape, np.int32)
    ndimage.label(inside, output=numbered)
    return numbered
