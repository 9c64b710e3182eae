"""Operations without parameters that change the size of a map, or match it to the size of another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Interval, Op, SizeError, per_axis


@dataclass(frozen=True)
class MaxPool(Op):
    """The maximum of each window. Windows do not overlap, and every size must be a multiple of the window.

    Example:
        >>> MaxPool((2,)).compute({}, np.arange(6.0).reshape(1, 6, 1)).ravel()
        array([1., 3., 5.])
    """

    kind: ClassVar[str] = "max_pool"
    rowwise = True
    window: tuple[int, ...]

    def output_size(self, axis: int, *sizes: int) -> int:
        if sizes[0] % self.window[axis]:
            raise SizeError(f"{sizes[0]} cannot be pooled by {self.window[axis]}")
        return sizes[0] // self.window[axis]

    def downsampling(self, axis: int) -> int:
        return self.window[axis]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] * self.window[axis], output[1] * self.window[axis]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.maximum.reduce(self.taps(inputs[0]))

    def taps(self, x: np.ndarray) -> list[np.ndarray]:
        """The first pixel of every window, the second of every window, and so on."""
        for axis, n in enumerate(x.shape[1:-1]):
            self.output_size(axis, n)
        taps = itertools.product(*map(range, self.window))
        return [x[(slice(None), *(slice(t, None, w) for t, w in zip(tap, self.window, strict=True)))] for tap in taps]

    def summary(self) -> str:
        return per_axis(self.window)


@dataclass(frozen=True)
class Upsample(Op):
    """Linear interpolation to `scale` times the size (bilinear in 2-D, trilinear in 3-D).

    Output i lies at input position i · (n − 1) / (scale · n − 1) with aligned corners, else at (i + ½) / scale − ½,
    clamped to the axis. With aligned corners the position depends on the size of the whole map, so a tile never
    reproduces the whole image exactly.

    Example:
        >>> Upsample(2, align_corners=False).compute({}, np.array([0.0, 4.0]).reshape(1, 2, 1)).ravel()
        array([0., 1., 3., 4.])
    """

    kind: ClassVar[str] = "upsample"
    rowwise = True
    homogeneous = "all"
    scale: int = 2
    align_corners: bool = True

    @property
    def shift_invariant(self) -> bool:
        return not self.align_corners

    def output_size(self, axis: int, *sizes: int) -> int:
        return sizes[0] * self.scale

    def positions(self, n: int) -> np.ndarray:
        """Where each of the scale · n outputs lies on an axis of n inputs, in float64."""
        i = np.arange(n * self.scale, dtype=np.float64)
        if self.align_corners:
            return i * (n - 1) / max(n * self.scale - 1, 1)
        return np.clip((i + 0.5) / self.scale - 0.5, 0, n - 1)

    def matrix(self, n: int) -> np.ndarray:
        """The (scale · n, n) float64 matrix of interpolation weights along one axis; rows sum to one."""
        position = self.positions(n)
        low = np.clip(np.floor(position).astype(int), 0, n - 1)
        high = np.minimum(low + 1, n - 1)
        rows, fraction = np.arange(n * self.scale), position - low
        weights = np.zeros((n * self.scale, n))
        np.add.at(weights, (rows, low), 1 - fraction)
        np.add.at(weights, (rows, high), fraction)
        return weights

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        (n,), s, (first, last) = sizes, self.scale, (output[0], output[1] - 1)
        if self.align_corners:  # clamped: outside of the map there is nothing to interpolate
            low, high = (min(max(i, 0), n * s - 1) * (n - 1) / max(n * s - 1, 1) for i in (first, last))
            return ((int(low), min(int(high) + 2, n)),)
        # (2i + 1 − s) / 2s, rounded down for the first output, up for the last. Not clamped: an output that needs a
        # neighbour outside of the map is inexact at the edge of a tile, and the interval must show that.
        return (((2 * first + 1 - s) // (2 * s), 1 - (s - 1 - 2 * last) // (2 * s)),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        for axis in range(1, x.ndim - 1):
            weights = self.matrix(x.shape[axis]).astype(x.dtype)
            x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
        return x

    def summary(self) -> str:
        return f"x{self.scale} linear" + (", aligned corners" if self.align_corners else "")


@dataclass(frozen=True)
class Crop(Op):
    """Cuts `margin` from both ends of each spatial axis."""

    kind: ClassVar[str] = "crop"
    rowwise = view = True
    homogeneous = "all"
    margin: tuple[int, ...]

    def output_size(self, axis: int, *sizes: int) -> int:
        if sizes[0] <= 2 * self.margin[axis]:
            raise SizeError(f"cropping {self.margin[axis]} per side leaves nothing of {sizes[0]}")
        return sizes[0] - 2 * self.margin[axis]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] + self.margin[axis], output[1] + self.margin[axis]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        return x[(slice(None), *(slice(m, n - m) for m, n in zip(self.margin, x.shape[1:-1], strict=True)))]

    def summary(self) -> str:
        return f"{self.margin[0]} a side" if len(set(self.margin)) == 1 else f"{per_axis(self.margin)} a side"


@dataclass(frozen=True)
class Pad(Op):
    """Adds `margin` zeros at both ends of each spatial axis."""

    kind: ClassVar[str] = "pad"
    rowwise = zero_padded = True
    margin: tuple[int, ...]

    def output_size(self, axis: int, *sizes: int) -> int:
        return sizes[0] + 2 * self.margin[axis]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] - self.margin[axis], output[1] - self.margin[axis]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.pad(inputs[0], [(0, 0), *((m, m) for m in self.margin), (0, 0)])

    def summary(self) -> str:
        return (
            f"{self.margin[0]} zeros a side" if len(set(self.margin)) == 1 else f"{per_axis(self.margin)} zeros a side"
        )


@dataclass(frozen=True)
class CropLike(Op):
    """Cuts the first input to the size of the second, beginning at `offset` on each spatial axis (FCN's crops)."""

    kind: ClassVar[str] = "crop_like"
    homogeneous = "first"
    offset: int

    def output_size(self, axis: int, *sizes: int) -> int:
        if sizes[0] < self.offset + sizes[1]:
            raise SizeError(f"{sizes[1]} pixels from {self.offset} on cannot be cut from {sizes[0]}")
        return sizes[1]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        # Only the size of the second input matters; the network needs it at these positions anyway.
        return (output[0] + self.offset, output[1] + self.offset), output

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0][(slice(None), *(slice(self.offset, self.offset + n) for n in inputs[1].shape[1:-1]))]

    def summary(self) -> str:
        return f"from {self.offset}"


@dataclass(frozen=True)
class ExpandLike(Op):
    """Repeats a map of one pixel to the size of the second input."""

    kind: ClassVar[str] = "expand_like"

    def output_size(self, axis: int, *sizes: int) -> int:
        if sizes[0] != 1:
            raise SizeError(f"only a map of one pixel can be repeated, not one of {sizes[0]}")
        return sizes[1]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return (0, 1), output

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.broadcast_to(inputs[0], (*inputs[1].shape[:-1], inputs[0].shape[-1]))


@dataclass(frozen=True)
class RepeatLike(Op):
    """Repeats the maps of one image along the batch axis, once for each sample of the second input."""

    kind: ClassVar[str] = "repeat_like"

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return output, (0, 1)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.broadcast_to(inputs[0], (max(map(len, inputs)), *inputs[0].shape[1:]))


@dataclass(frozen=True)
class PadEnd(Op):
    """Adds `margin` zeros at the high end of each spatial axis."""

    kind: ClassVar[str] = "pad_end"
    margin: int

    def output_size(self, axis: int, *sizes: int) -> int:
        return sizes[0] + self.margin

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        return np.pad(x, [(0, 0), *[(0, self.margin)] * (x.ndim - 2), (0, 0)])

    def summary(self) -> str:
        return f"{self.margin} zeros at the end"
