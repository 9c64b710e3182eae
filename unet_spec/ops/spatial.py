"""Operations that change the size of a map and own no parameters."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Interval, Op, SizeError, per_axis


@dataclass(frozen=True)
class MaxPool(Op):
    """The maximum of each window. Windows touch and do not overlap: every extent must be a multiple of the window."""

    kind: ClassVar[str] = "max_pool"
    window: tuple[int, ...]

    def extent(self, axis: int, *inputs: int) -> int:
        if inputs[0] % self.window[axis]:
            raise SizeError(f"{inputs[0]} cannot be pooled by {self.window[axis]}")
        return inputs[0] // self.window[axis]

    def downsampling(self, axis: int) -> int:
        return self.window[axis]

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        w = self.window[axis]
        return ((wanted[0] * w, wanted[1] * w + w - 1),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.maximum.reduce(self.taps(inputs[0]))

    def taps(self, x: np.ndarray) -> list[np.ndarray]:
        """The first pixel of every window, the second of every window, and so on."""
        for axis, n in enumerate(x.shape[1:-1]):
            self.extent(axis, n)
        taps = itertools.product(*map(range, self.window))
        return [x[(slice(None), *(slice(t, None, w) for t, w in zip(tap, self.window, strict=True)))] for tap in taps]

    def hyper(self) -> str:
        return per_axis(self.window)


@dataclass(frozen=True)
class Upsample(Op):
    """Linear interpolation to `scale` times the size (bilinear in 2-D, trilinear in 3-D).

    Output i lies at input position i · (n − 1) / (scale · n − 1) with aligned corners, else at (i + ½) / scale − ½,
    clamped to the axis. With aligned corners the position depends on the size of the whole map, so a tile never
    reproduces the whole image exactly.
    """

    kind: ClassVar[str] = "upsample"
    scale: int = 2
    align_corners: bool = True

    @property
    def shift_invariant(self) -> bool:
        return not self.align_corners

    def extent(self, axis: int, *inputs: int) -> int:
        return inputs[0] * self.scale

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

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        n, s = extents[0], self.scale
        if self.align_corners:  # clamped: outside of the map there is nothing to say
            low, high = (min(max(w, 0), n * s - 1) * (n - 1) / max(n * s - 1, 1) for w in wanted)
            return ((int(low), min(int(high) + 1, n - 1)),)
        # (2i + 1 − s) / 2s, rounded down; one more on the right where it is no integer. Unclamped on purpose: needing a
        # neighbour that is not there is what makes an edge of a tile inexact.
        first, last = 2 * wanted[0] + 1 - s, 2 * wanted[1] + 1 - s
        return ((first // (2 * s), -(-last // (2 * s))),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        for axis in range(1, x.ndim - 1):
            weights = self.matrix(x.shape[axis]).astype(x.dtype)
            x = np.moveaxis(np.tensordot(weights, x, (1, axis)), 0, axis)
        return x

    def hyper(self) -> str:
        return f"x{self.scale} linear" + (", aligned corners" if self.align_corners else "")


@dataclass(frozen=True)
class Crop(Op):
    """Cuts `margin` from both ends of each spatial axis."""

    kind: ClassVar[str] = "crop"
    margin: tuple[int, ...]

    def extent(self, axis: int, *inputs: int) -> int:
        if inputs[0] <= 2 * self.margin[axis]:
            raise SizeError(f"cropping {self.margin[axis]} a side leaves nothing of {inputs[0]}")
        return inputs[0] - 2 * self.margin[axis]

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        return ((wanted[0] + self.margin[axis], wanted[1] + self.margin[axis]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        return x[(slice(None), *(slice(m, n - m) for m, n in zip(self.margin, x.shape[1:-1], strict=True)))]

    def hyper(self) -> str:
        return f"{self.margin[0]} a side" if len(set(self.margin)) == 1 else f"{per_axis(self.margin)} a side"


@dataclass(frozen=True)
class Pad(Op):
    """Adds `margin` zeros at both ends of each spatial axis."""

    kind: ClassVar[str] = "pad"
    margin: tuple[int, ...]

    def extent(self, axis: int, *inputs: int) -> int:
        return inputs[0] + 2 * self.margin[axis]

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        return ((wanted[0] - self.margin[axis], wanted[1] - self.margin[axis]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.pad(inputs[0], [(0, 0), *((m, m) for m in self.margin), (0, 0)])

    def hyper(self) -> str:
        return (
            f"{self.margin[0]} zeros a side" if len(set(self.margin)) == 1 else f"{per_axis(self.margin)} zeros a side"
        )
