"""The distance of each pixel to the border of its object, the target of a distance head, packed into the labels.

The packed array is cut, mirrored, warped and split like labels of classes; only the loss unpacks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float32, Int32, Integer

CLASSES, LEVELS = 256, 255
"""Number of class numbers in a packed number; level of the distance 1. Packed numbers are exact in float32."""


def border_distances(cells: Integer[np.ndarray, "*spatial"]) -> Float32[np.ndarray, "*spatial"]:
    """The distance of each pixel to the border of its object, relative to the largest distance in the object.

    d(x) / max d over the object, where d(x) is the Euclidean distance from the centre of x to the centre of the nearest
    pixel outside of the object (background or another object). So touching objects are separated by a valley, and every
    object has a peak of 1, whatever its size and the image's scale. An object at the edge of the image is assumed to
    continue beyond it.

    Args:
        cells: (H, W) or (D, H, W), instance labels: 0 is background, each other number is one object.

    Returns:
        Relative distances in 0..1; 0 on the background.

    Example:
        >>> from unet_data import border_distances
        >>> print(border_distances(np.array([[0, 1, 1, 1, 2, 2, 0]])))
        [[0.  0.5 1.  0.5 1.  1.  0. ]]

    References:
        The object probability of StarDist: Schmidt et al. 2018, arXiv 1806.03535, section 2.1. A network that predicts
        it as a map for seeds: Scherr et al. 2020, arXiv 2004.01486.
    """
    from scipy import ndimage

    result = np.zeros(cells.shape, np.float32)
    numbers, compact = np.unique(cells, return_inverse=True)
    compact = compact.reshape(cells.shape) + (1 if numbers[0] else 0)  # 0 stays the background
    for number, box in enumerate(ndimage.find_objects(compact), start=1):
        around = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        own = compact[around] == number
        if own.all():  # the object fills the image, so that it has no border
            result[around] = 1
            continue
        distance = np.asarray(ndimage.distance_transform_edt(own), np.float32)
        result[around] += distance / distance.max()  # 0 outside of the object
    return result


def pack_distances(
    labels: Integer[np.ndarray, "*spatial"], distances: Float32[np.ndarray, "*spatial"]
) -> Int32[np.ndarray, "*spatial"]:
    """Packs class numbers and distances into one number per pixel: class + 256 · round(255 · distance).

    Args:
        labels: class numbers below 256; −1 (`IGNORED`) for ignored pixels.
        distances: distances of the same shape, in 0..1; see `border_distances`.

    Returns:
        The packed numbers; −1 for ignored pixels.

    Raises:
        InputError: a class number is too large.

    Example:
        >>> from unet_data import pack_distances
        >>> pack_distances(np.array([0, 1, -1]), np.array([0.0, 1.0, 0.5], np.float32)).tolist()
        [0, 65281, -1]
    """
    if labels.size and labels.max() >= CLASSES:
        raise InputError(f"class {labels.max()} beside distances; at most {CLASSES} classes fit")
    levels = np.rint(distances * LEVELS).astype(np.int32)
    return np.where(labels < 0, labels, labels + CLASSES * levels).astype(np.int32)
