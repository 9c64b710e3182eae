"""Border thinning, as in the scores of ISBI 2012."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Integer


def thin_borders(objects: Integer[np.ndarray, "*spatial"]) -> Integer[np.ndarray, "*spatial"]:
    """Grows all objects at equal speed until no border is left: each pixel is assigned to the nearest object.

    This is the watershed of the distance to the objects without its lines of one pixel. So the width of borders does
    not affect the score of a proposal (Arganda-Carreras et al. 2015, "border thinning").

    Args:
        objects: (H, W) or (D, H, W), 0 is border.

    Returns:
        The grown objects, in the same dtype; all 0 if there is no object.

    Example:
        >>> thin_borders(np.array([[1, 0, 0, 0, 2]])).tolist()
        [[1, 1, 1, 2, 2]]
    """
    from scipy import ndimage

    if not (objects > 0).any():
        return objects.copy()
    nearest = ndimage.distance_transform_edt(objects == 0, return_distances=False, return_indices=True)
    return objects[tuple(np.asarray(nearest))]
