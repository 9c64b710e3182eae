"""Windows of an image that may reach over its edges, mirrored there.

The overlap-tile strategy of the U-Net article (Ronneberger et al. 2015, figure 2): what lies beyond the border is
extrapolated by mirroring, and what lies within is always the true image.
"""

import math
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from unet_spec.errors import InputError

BAND = 2**22
"""Pixels, about, of one band of `bands`."""


def bands(shape: Sequence[int], pixels: int | None = None) -> Iterator[tuple[slice, ...]]:
    """Windows that follow each other along the first axis and cover an image of this spatial size, each of about so
    many pixels (None: BAND), but at least one row or plane: what can be done one after the other needs no more of the
    image in memory."""
    rows = max(1, (pixels or BAND) // max(1, math.prod(shape[1:])))
    for first in range(0, shape[0], rows):
        yield (slice(first, min(first + rows, shape[0])), *(slice(0, n) for n in shape[1:]))


def middle(shape: Sequence[int], most: int = 1024) -> tuple[slice, ...]:
    """The window at the centre of an image of this spatial size that has at most so many pixels per axis: what is
    shown of an image of any size."""
    return tuple(slice((n - min(n, most)) // 2, (n - min(n, most)) // 2 + min(n, most)) for n in shape)


def mirror_index(start: int, stop: int, size: int) -> np.ndarray:
    """Where the positions start..stop-1 of a mirrored axis of length `size` lie in 0..size-1: (stop - start,) int64.

    The edge pixel is not repeated (numpy's mode "reflect"): ... 2 1 0 1 2 ... size-2 size-1 size-2 ..., period
    2 (size - 1). Positions may lie any distance outside. An axis of size 1 gives its only pixel everywhere.

    Raises InputError for size < 1 or stop < start.
    """
    if size < 1 or stop < start:
        raise InputError(f"cannot mirror positions {start}..{stop} on an axis of size {size}; size must be 1 or more")
    if size == 1:
        return np.zeros(stop - start, np.int64)
    period = 2 * (size - 1)
    position = np.arange(start, stop, dtype=np.int64) % period
    return np.minimum(position, period - position)


def mirror_window(image: np.ndarray, start: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """The window image[start : start + shape] of the leading axes, mirrored where it reaches beyond the image.

    image: (H, W, ...) or (D, H, W, ...), any dtype; len(start) says how many leading axes are spatial, so labels
    without a channel axis work too. start may be negative or beyond the image. Result: (*shape, ...), same dtype. Only
    the part of the image that shows in the window is read, so a memory-mapped array stays on disk. A window wholly
    inside is a plain slice, a *view*: copy it before writing to it.

    Raises InputError where start, shape and the image's axes do not match, or an axis has no pixels.
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
    return cast(np.ndarray, region[np.ix_(*takes)])
