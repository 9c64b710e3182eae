"""Labels the objects of probabilities in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError

from .heights import quantised
from .parts import Blocks, Objects, join, parts_of
from .settings import ObjectSettings

if TYPE_CHECKING:
    from jaxtyping import Int64, Shaped, UInt32


def objects_of(
    probabilities: Shaped[np.ndarray, "*any"], settings: ObjectSettings | None = None, dims: int = 2
) -> tuple[UInt32[np.ndarray, "*spatial"], Int64[np.ndarray, " objects"]]:
    """Numbers the objects of an image.

    Args:
        probabilities: (*spatial) of class 1, or (*spatial, K) of all classes, where class 0 is the background; floats
            in 0..1, or uint8 in 0..255. If `settings.distance` is K, the predicted distance follows in the same units.
        settings: settings of the object separation. Default: `ObjectSettings()`.
        dims: 2 for images, 3 for volumes.

    Returns:
        Labels (*spatial), 0 for background, 1 … n in the order of the objects' first pixels; and each object's class.

    Raises:
        InputError: axes are wrong, or values are not probabilities.

    Example:
        >>> from unet_data import ObjectSettings, objects_of
        >>> dumbbell = np.array([[1, 1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 1, 1, 1]], float)
        >>> labels, classes = objects_of(np.pad(dumbbell, 1))
        >>> labels[2].tolist(), classes.tolist()
        ([0, 1, 1, 1, 1, 2, 2, 2, 0], [1, 1])
        >>> objects_of(np.pad(dumbbell, 1), ObjectSettings(neck=0))[0].max()
        np.uint32(1)
    """
    settings = settings or ObjectSettings()
    if dims not in (2, 3) or probabilities.ndim not in (dims, dims + 1) or not probabilities.size:
        raise InputError(f"probabilities of shape {probabilities.shape} are not a {dims}-D image; see dims")
    if probabilities.ndim == dims + 1 and probabilities.shape[-1] < 2:
        raise InputError(f"probabilities of shape {probabilities.shape}: expected (*spatial) or K ≥ 2 classes last")
    if probabilities.ndim == dims + 1 and probabilities.shape[-1] == 2 and settings.distance is None:
        probabilities = probabilities[..., 1]
    labels, objects = label_in_blocks(quantised(probabilities), settings, dims, probabilities.shape[:dims])
    return labels, objects.classes


def label_in_blocks(
    values: np.ndarray, settings: ObjectSettings, dims: int, side: tuple[int, ...]
) -> tuple[np.ndarray, Objects]:
    image = values.shape[:dims]
    blocks = Blocks(image, side)

    def read(low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
        return values[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]

    found = [parts_of(read, image, blocks.span(number), settings) for number in range(len(blocks))]
    objects = join(blocks, [parts for _, parts in found], settings)
    result, offset = np.zeros(image, np.uint32), 0
    for number, (labels, parts) in enumerate(found):
        lookup = np.append(objects.numbers[offset : offset + len(parts.peaks)], 0)
        result[blocks.span(number)] = lookup[labels]
        offset += len(parts.peaks)
    return result, objects
