"""The height of each pixel: its depth inside an object. It depends only on a bounded neighbourhood.

    > 0   core: squared distance to the nearest pixel outside, up to reach², or probability, or predicted distance
    < 0   foreground into which the core grows: minus the number of steps (across faces) to the core
    OUT   outside of all objects

All heights are integers, so that a window gives exactly the numbers of the whole image.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError

from .settings import ObjectSettings

if TYPE_CHECKING:
    from jaxtyping import Int32, Shaped, UInt8

OUT = -(2**31)
_UNIT = 256
"""Fixed-point unit of probabilities 0..255 (steps of 1/256), so that smoothing does not round to whole numbers."""


def quantised(probabilities: Shaped[np.ndarray, "*any"]) -> UInt8[np.ndarray, "*any"]:
    """Converts probabilities 0..1 to 0..255 uint8; uint8 is unchanged.

    Raises:
        InputError: the dtype is neither float nor uint8, or values are outside 0..1.
    """
    if probabilities.dtype == np.uint8:
        return probabilities
    if probabilities.dtype.kind != "f":
        raise InputError(f"probabilities are {probabilities.dtype}; allowed: floats in 0..1, or uint8 in 0..255")
    if probabilities.size and not (probabilities.min() >= -1e-3 and probabilities.max() <= 1 + 1e-3):
        low, high = probabilities.min(), probabilities.max()
        raise InputError(f"probabilities lie in {low:g}..{high:g}; expected 0..1 (these may be logits)")
    return np.round(np.clip(probabilities, 0, 1) * 255).astype(np.uint8)


def heights(window: UInt8[np.ndarray, "*any"], dims: int, settings: ObjectSettings) -> Int32[np.ndarray, "*spatial"]:
    """The heights of a window. Near its sides inside of the image (`settings.halo` less 1) they are not the image's.

    Args:
        window: probabilities 0..255, (*spatial) of class 1 or (*spatial, K); a distance 0..255 may follow them.
        dims: number of spatial axes.
        settings: settings of the object separation.

    Raises:
        InputError: the border class or the predicted distance does not exist.
    """
    foreground, core = _maps(class_values(window, dims, settings), dims, settings)
    inside, core_mask = (
        _smoothed(values, settings.smoothing) >= math.ceil(threshold * 255 * _UNIT)
        for values, threshold in ((foreground, settings.foreground), (core, settings.core))
    )
    core_mask = _without_holes(core_mask, settings.fill_holes)
    inside = _without_holes(inside, settings.fill_holes) | core_mask
    if settings.method == "distance":
        level = _squared_distance(core_mask, settings.reach, settings.steps(dims))
    else:
        measured = window[..., -1].astype(np.int32) * _UNIT if settings.method == "predicted" else core
        level = np.maximum(_smoothed(measured, settings.smoothing), 1)
    result = np.where(core_mask, level, OUT).astype(np.int32)
    reached = core_mask
    for step in range(1, settings.grow + 1):
        grown = _dilated(reached) & inside
        result[grown & ~reached] = -step
        reached = grown | reached
    return result


def class_values(window: np.ndarray, dims: int, settings: ObjectSettings) -> np.ndarray:
    """The probabilities without the distance. Raises InputError if a distance is missing or not expected."""
    if settings.distance is None:
        if settings.method == "predicted":
            raise InputError(
                "the object method predicted needs the predicted distance; `distance` is its index among the values"
            )
        return window
    if window.ndim != dims + 1 or window.shape[-1] != settings.distance + 1:
        raise InputError(f"values of shape {window.shape}; expected {settings.distance} classes and the distance last")
    return window[..., :-1]


def _maps(window: np.ndarray, dims: int, settings: ObjectSettings) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the foreground and of the core, 0..255 in units of 1/_UNIT."""
    if window.ndim == dims:
        if settings.border is not None:
            raise InputError("the object settings name a border class, but the network has two classes")
        values = window.astype(np.int32) * _UNIT
        return values, values
    if settings.border is not None and settings.border >= window.shape[-1]:
        raise InputError(f"the border class is {settings.border}, but there are {window.shape[-1]} classes")
    foreground = (255 - window[..., 0].astype(np.int32)) * _UNIT
    if settings.border is None:
        return foreground, foreground
    return foreground, np.maximum(foreground - window[..., settings.border].astype(np.int32) * _UNIT, 0)


def _smoothed(values: np.ndarray, passes: int) -> np.ndarray:
    """Smooths with the kernel 1 2 1 along each axis, rounded; the edge pixel is repeated."""
    for _ in range(passes):
        for axis in range(values.ndim):
            padded = np.pad(values, [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)], mode="edge")
            low, mid, high = (_along(padded, axis, i, i + values.shape[axis]) for i in range(3))
            values = (low + 2 * mid + high + 2) >> 2
    return values


def _without_holes(mask: np.ndarray, size: int) -> np.ndarray:
    """The mask with holes of up to `size` pixels filled. Pixels of a hole are connected also across corners.

    A background region at the edge of the image is not a hole. One that reaches another side of the window is not
    filled: it is either larger than `size`, or outside of the part of the window that is used.
    """
    if not size:
        return mask
    from scipy import ndimage

    numbers = np.empty(mask.shape, np.int32)
    ndimage.label(~mask, np.ones((3,) * mask.ndim), output=numbers)
    counts = np.bincount(numbers.ravel())
    fill = counts <= size
    fill[0] = False
    for axis in range(mask.ndim):
        for side in (0, -1):
            fill[_along(numbers, axis, *((0, 1) if side == 0 else (-1, None)))] = False
    return mask | fill[numbers]


def _squared_distance(mask: np.ndarray, reach: int, spacing: tuple[int, ...]) -> np.ndarray:
    """Squared distance to the nearest pixel outside of the mask, up to reach²."""
    if mask.all():
        return np.full(mask.shape, reach**2, np.int32)
    from scipy import ndimage

    distance = np.asarray(ndimage.distance_transform_edt(mask, sampling=spacing))
    np.minimum(distance, reach, out=distance)
    np.multiply(distance, distance, out=distance)
    return np.rint(distance, out=distance).astype(np.int32)


def _dilated(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    for axis in range(mask.ndim):
        n = mask.shape[axis]
        target, source = _along(grown, axis, 1, n), _along(mask, axis, 0, n - 1)
        np.logical_or(target, source, out=target)
        target, source = _along(grown, axis, 0, n - 1), _along(mask, axis, 1, n)
        np.logical_or(target, source, out=target)
    return grown


def _along(array: np.ndarray, axis: int, start: int, stop: int | None) -> np.ndarray:
    """array[start:stop] along one axis."""
    return array[(slice(None),) * axis + (slice(start, stop),)]
