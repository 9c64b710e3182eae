"""Resamples volumes as nnU-Net does: by splines in voxel space, with pixel centres at half-integers.

nnU-Net uses scipy's `zoom` with `grid_mode`, through scikit-image's `resize`. Cubic splines, which need 64 voxels per
result, are computed here as one matrix per axis: the interpolation is linear in the values and separable in the axes,
so the matrix is `zoom` of unit vectors. Products with it are equal to about 1e-15 and many times faster. Linear
interpolation uses `zoom` itself: float16 logits have ties, which the last bit of float64 decides.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from .plans import Resampling

_MAX_LENGTH = 2**31
ANISOTROPY = 3.0
"""Ratio of the largest to the smallest spacing above which the axis of low resolution is resampled separately."""


def new_shape(shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...]) -> tuple[int, ...]:
    """Voxels per axis after a volume of `shape` is resampled from `spacing` to `target` (both in millimetres).

    Raises InputError if there is no valid number.
    """
    lengths = [old / new * n if new > 0 else np.inf for old, new, n in zip(spacing, target, shape, strict=True)]
    if not all(length < _MAX_LENGTH for length in lengths):  # also catches NaN
        raise InputError(f"an image of {shape} voxels at {spacing} mm cannot be resampled to {target} mm")
    return tuple(map(round, lengths))


def resample(
    volume: np.ndarray, shape: tuple[int, ...], spacing: tuple[float, ...], target: tuple[float, ...], how: Resampling
) -> np.ndarray:
    """Resamples a volume (C, z, y, x) of any floating dtype from `spacing` to (C, *shape), in that dtype.

    `target` is the spacing of the result. Values stay within the range of the channel, or within that of the slice if
    an axis is resampled separately.
    """
    if how.none or tuple(shape) == volume.shape[1:]:
        return volume
    axis = separate_axis(spacing, target, how.separate_z)
    result = np.empty((len(volume), *shape), volume.dtype)
    for channel, values in zip(result, volume, strict=True):
        channel[...] = _resample_channel(values.astype(np.float64), tuple(shape), axis, how)
    return result


def separate_axis(spacing: tuple[float, ...], target: tuple[float, ...], forced: bool | None) -> int | None:
    """The axis of low resolution if it is resampled separately: in anisotropic volumes with a single such axis."""
    if forced is False:
        return None
    compared = spacing
    if forced is None and max(spacing) / min(spacing) <= ANISOTROPY:
        compared = target
        if max(target) / min(target) <= ANISOTROPY:
            return None
    coarse = [a for a, s in enumerate(compared) if max(compared) / s == 1]
    return coarse[0] if len(coarse) == 1 else None


def _resample_channel(values: np.ndarray, shape: tuple[int, ...], separate: int | None, how: Resampling) -> np.ndarray:
    """Resamples (z, y, x) float64."""
    within = tuple(a for a in range(values.ndim) if a != separate)
    low, high = values.min(within, keepdims=True), values.max(within, keepdims=True)
    if how.order < 2:
        values = _zoom(values, tuple(shape[a] for a in within), separate, how.order)
    else:
        for axis in within:
            values = _along(axis, _matrix(values.shape[axis], shape[axis], how.order), values)
    np.clip(values, low, high, out=values)
    if separate is None or values.shape[separate] == shape[separate]:
        return values
    return _along(separate, _sampling(values.shape[separate], shape[separate], how.order_z), values)


def _zoom(values: np.ndarray, shape: tuple[int, ...], separate: int | None, order: int) -> np.ndarray:
    """Resamples the volume, or its slices along the axis `separate`, to `shape` with `zoom`."""
    from scipy import ndimage

    if separate is not None:
        slices = [_zoom(part, shape, None, order) for part in np.moveaxis(values, separate, 0)]
        return np.stack(slices, separate)
    factors = [_factor(n, m) for n, m in zip(values.shape, shape, strict=True)]
    return np.asarray(ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True))


def _factor(before: int, after: int) -> float:
    return 1 / (before / after)  # two divisions, as in scikit-image, give the same last bit


def _along(axis: int, matrix: Any, values: np.ndarray) -> np.ndarray:
    """The product of a matrix, dense or sparse, with every line along one axis."""
    first = np.moveaxis(values, axis, 0)
    product = matrix @ first.reshape(len(first), -1)
    return np.ascontiguousarray(np.moveaxis(product.reshape(-1, *first.shape[1:]), 0, axis))


@lru_cache(maxsize=64)
def _matrix(before: int, after: int, order: int) -> np.ndarray:
    """The matrix (after, before) of `zoom` along a line."""
    from scipy import ndimage

    matrix = np.empty((after, before))
    for column, line in zip(matrix.T, np.eye(before), strict=True):
        ndimage.zoom(line, _factor(before, after), column, order=order, mode="nearest", grid_mode=True)
    return matrix


@lru_cache(maxsize=64)
def _sampling(before: int, after: int, order: int) -> Any:
    """The matrix (after, before) of sampling a line at the centres of the new pixels."""
    from scipy import ndimage, sparse

    at = before / after * (np.arange(after) + 0.5) - 0.5
    matrix = np.empty((after, before))
    for column, line in zip(matrix.T, np.eye(before), strict=True):
        ndimage.map_coordinates(line, at[None], column, order=order, mode="nearest")
    return sparse.csr_array(matrix)
