"""Windows of an image that may extend beyond its edges, where the image is mirrored.

This is the overlap-tile strategy of the U-Net article (Ronneberger et al. 2015, figure 2): pixels beyond the border are
extrapolated by mirroring; pixels within it are always those of the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Int64, Shaped

Slices = tuple[slice, ...]

BAND = 2**22
"""Approximate number of pixels of a band in `bands`."""


@runtime_checkable
class Windowed(Protocol):
    """An array that is read by windows, such as (*spatial, C) or (*spatial), in memory or in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    def __getitem__(self, window: Slices, /) -> np.ndarray: ...


@runtime_checkable
class Windows(Protocol):
    """An image (*spatial) or (*spatial, K) of any size that is read by windows."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    @property
    def spatial_dims(self) -> int: ...
    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        """Every `step`-th pixel in the half-open range from `start` (a multiple of `step`) to `stop` or the edge."""
        ...


def bands(shape: Sequence[int], pixels: int | None = None) -> Iterator[tuple[slice, ...]]:
    """Consecutive windows along the first axis that cover an image, to process it with one band in memory.

    Args:
        shape: spatial size of the image.
        pixels: approximate size of a band in pixels, at least one row or plane; None: BAND.

    Example:
        >>> [band[0] for band in bands((5, 4), pixels=8)]
        [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    rows = max(1, (pixels or BAND) // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], rows):
        yield (slice(first, min(first + rows, shape[0])), *(slice(0, n) for n in shape[1:]))


def middle(shape: Sequence[int], maximum: int = 1024) -> tuple[slice, ...]:
    """The window at the centre of an image.

    Args:
        shape: spatial size of the image.
        maximum: maximum number of pixels per axis.

    Example:
        >>> middle((100, 8), 10)
        (slice(45, 55, None), slice(0, 8, None))
    """
    return tuple(slice((n - min(n, maximum)) // 2, (n - min(n, maximum)) // 2 + min(n, maximum)) for n in shape)


def mirror_index(start: int, stop: int, size: int) -> Int64[np.ndarray, " positions"]:
    """Positions on an axis that correspond to the positions of its mirrored continuation.

    The edge pixel is not repeated (numpy's mode "reflect"): ... 2 1 0 1 2 ... size-2 size-1 size-2 ..., period
    2 (size - 1). An axis of size 1 gives its only pixel everywhere.

    Args:
        start, stop: the positions are start … stop - 1, at any distance outside.
        size: number of pixels of the axis.

    Returns:
        (stop - start,) in 0 … size - 1.

    Raises:
        InputError: size < 1 or stop < start.

    Example:
        >>> from unet_data import mirror_index
        >>> mirror_index(-2, 6, 4).tolist()
        [2, 1, 0, 1, 2, 3, 2, 1]
    """
    if size < 1 or stop < start:
        raise InputError(f"cannot mirror positions {start}..{stop} on an axis of size {size}; size must be 1 or more")
    if size == 1:
        return np.zeros(stop - start, np.int64)
    period = 2 * (size - 1)
    position = np.arange(start, stop, dtype=np.int64) % period
    return np.minimum(position, period - position)


def mirror_window(image: Windowed, start: Sequence[int], shape: Sequence[int]) -> Shaped[np.ndarray, "*shape"]:
    """The window image[start : start + shape] of the leading axes, mirrored beyond the edges of the image.

    Only the part of the image that the window needs is read, so a memory-mapped array stays on disk.

    Args:
        image: (H, W, ...) or (D, H, W, ...), any dtype, with or without a channel axis.
        start: start of the window, for each spatial axis; may be negative or beyond the image.
        shape: shape of the window, as long as start.

    Returns:
        (*shape, ...) in the image's dtype. A window completely inside the image is a *view*: copy it before writing.

    Raises:
        InputError: start, shape and the image's axes do not match, or an axis has no pixels.

    Example:
        >>> from unet_data import mirror_window
        >>> mirror_window(np.arange(9).reshape(3, 3), (-1, 1), (2, 3)).tolist()
        [[4, 5, 4], [1, 2, 1]]
    """
    if not 1 <= len(start) == len(shape) <= image.ndim:
        raise InputError(
            f"window start {tuple(start)} and shape {tuple(shape)} do not match an image of shape {image.shape}"
        )
    if any(length < 1 for length in shape):
        raise InputError(f"a window of shape {tuple(shape)} is empty; every length must be 1 or more")
    within = zip(start, shape, image.shape, strict=False)  # the image has further axes: channels
    if all(first >= 0 and first + length <= size for first, length, size in within):
        return image[tuple(slice(first, first + length) for first, length in zip(start, shape, strict=True))]
    slices, takes = [], []
    for first, length, size in zip(start, shape, image.shape, strict=False):
        index = mirror_index(first, first + length, size)
        low, high = int(index.min()), int(index.max()) + 1
        slices.append(slice(low, high))
        takes.append(index - low)
    region = np.asarray(image[tuple(slices)])
    return region[np.ix_(*takes)]
