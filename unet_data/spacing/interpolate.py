"""Interpolates images between grids of pixels that cover the same extent, window by window.

    position of new pixel i on the old axis = (i + ½) · before / after − ½

So a pixel is a cell, positions are those of its centre, and the first and the last edge of an axis stay where they are
(the convention of scikit-image's `resize` and of scipy's `zoom` with `grid_mode`). Beyond the edges, an axis continues
with its last pixel. Third order is the cubic convolution of Keys 1981 (doi 10.1109/TASSP.1981.1163711), which uses four
neighbours along each axis: unlike a spline, a window needs only two pixels around it, and its values do not depend on
the choice of the windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..windows import Slices, Windowed

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, Integer, Shaped


@dataclass(frozen=True)
class Axis:
    """An axis of `before` pixels that becomes one of `after` pixels.

    Attributes:
        before, after: numbers of pixels.
        order: order of the interpolation: 0 (nearest pixel), 1 (linear) or 3 (cubic).

    Example:
        >>> from unet_data.spacing.interpolate import Axis
        >>> Axis(2, 4, 1).positions(0, 4).tolist()
        [-0.25, 0.25, 0.75, 1.25]
    """

    before: int
    after: int
    order: int

    def positions(self, start: int, stop: int, step: int = 1) -> Float64[np.ndarray, " n"]:
        """Positions on the old axis of every `step`-th new pixel of a half-open range."""
        return (np.arange(start, stop, step) + 0.5) * (self.before / self.after) - 0.5

    def taps(
        self, start: int, stop: int, step: int = 1
    ) -> tuple[Int64[np.ndarray, "taps n"], Float32[np.ndarray, "taps n"]]:
        """The old pixels from which each new pixel of a range is computed, and their weights, which add up to 1."""
        at = np.arange(start, stop, step)
        if self.before == self.after:
            return at[None], np.ones((1, len(at)), np.float32)
        at = self.positions(start, stop, step)
        if self.order == 0:
            return np.clip(np.floor(at + 0.5).astype(np.int64), 0, self.before - 1)[None], np.ones(
                (1, len(at)), np.float32
            )
        below = np.floor(at)
        t = at - below
        if self.order == 1:
            offsets, weights = (0, 1), [1 - t, t]
        else:
            offsets = (-1, 0, 1, 2)
            weights = [
                ((-0.5 * t + 1) * t - 0.5) * t,
                (1.5 * t - 2.5) * t * t + 1,
                ((-1.5 * t + 2) * t + 0.5) * t,
                (0.5 * t - 0.5) * t * t,
            ]
        index = np.stack([below + offset for offset in offsets]).astype(np.int64)
        return np.clip(index, 0, self.before - 1), np.stack(weights).astype(np.float32)


def interpolated(
    source: Windowed, axes: Sequence[Axis], window: Slices, same_dtype: bool = False
) -> Shaped[np.ndarray, "*window k"]:
    """A window of an image on the new grid.

    Args:
        source: (*spatial, K), any real dtype. Only the pixels that the window needs are read.
        axes: one for each spatial axis.
        window: slices of the new grid, one for each spatial axis, with start and stop, and a step if any.
        same_dtype: whether the result has the dtype of the image; else float32. Integers are rounded, and stay within
            the range of their dtype.

    Example:
        >>> from unet_data.spacing.interpolate import Axis, interpolated
        >>> interpolated(np.array([[0], [4]]), [Axis(2, 4, 1)], (slice(0, 4),))[:, 0].tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    taps = [axis.taps(s.start, s.stop, s.step or 1) for axis, s in zip(axes, window, strict=True)]
    stored = np.asarray(source[_region(taps)])
    values = stored.astype(np.float32)
    for number, (index, weights) in enumerate(taps):
        lowest, shape = index.min(), [-1 if n == number else 1 for n in range(values.ndim)]
        parts = (
            np.take(values, own - lowest, number) * weight.reshape(shape)
            for own, weight in zip(index, weights, strict=True)
        )
        total = next(parts)
        for part in parts:
            total += part
        values = total
    if not same_dtype or stored.dtype.kind == "f":
        return values.astype(stored.dtype if same_dtype else np.float32, copy=False)
    limits = np.iinfo(stored.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(stored.dtype)


def voted(labels: Sequence[Windowed], axes: Sequence[Axis], window: Slices) -> list[Integer[np.ndarray, "*window"]]:
    """A window of labels on the new grid: the most probable number, by linear interpolation of the mask of each number.

    Args:
        labels: one or several arrays (*spatial), such as classes and numbers of objects. Each new pixel takes one old
            pixel's numbers of all arrays, so that they stay consistent.
        axes: one for each spatial axis; their order is not used.
        window: slices of the new grid, one for each axis, without step.

    Example:
        >>> from unet_data.spacing.interpolate import Axis, voted
        >>> voted([np.array([7, 7, 2])], [Axis(3, 6, 1)], (slice(0, 6),))[0].tolist()
        [7, 7, 7, 7, 2, 2]
    """
    linear = [Axis(axis.before, axis.after, 1) for axis in axes]
    taps = [axis.taps(s.start, s.stop) for axis, s in zip(linear, window, strict=True)]
    region = _region(taps)
    parts = [np.asarray(label[region]) for label in labels]
    corners = list(product(*(range(len(index)) for index, _ in taps)))
    numbers, weights = [], []
    for corner in corners:
        at = np.ix_(*(index[tap] - index.min() for tap, (index, _) in zip(corner, taps, strict=True)))
        numbers.append([part[at] for part in parts])
        weight = np.float32(1)
        for tap, (_, own) in zip(corner, taps, strict=True):
            weight = np.multiply.outer(weight, own[tap])
        weights.append(weight)
    best, chosen = weights[0] * -1, [part.copy() for part in numbers[0]]
    for mine in numbers:
        score = np.zeros(best.shape, np.float32)
        for other, weight in zip(numbers, weights, strict=True):
            same = np.logical_and.reduce([a == b for a, b in zip(mine, other, strict=True)])
            score += np.where(same, weight, 0)
        better = score > best
        best = np.where(better, score, best)
        for result, part in zip(chosen, mine, strict=True):
            np.copyto(result, part, where=better)
    return chosen


def _region(taps: Sequence[tuple[np.ndarray, np.ndarray]]) -> Slices:
    """The part of the old grid that the taps need."""
    return tuple(slice(int(index.min()), int(index.max()) + 1) for index, _ in taps)
