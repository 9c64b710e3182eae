"""More pooling (average, overlapping or overhanging windows, global, over channels), and nearest upsampling."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Interval, Op, SizeError
from .spatial import MaxPool


@dataclass(frozen=True)
class AvgPool(MaxPool):
    """The mean of each window. Windows do not overlap, and every size must be a multiple of the window."""

    kind: ClassVar[str] = "avg_pool"
    rowwise = False

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return sum(self.taps(inputs[0])) / np.prod(self.window).astype(inputs[0].dtype)


@dataclass(frozen=True)
class WindowMaxPool(Op):
    """The maximum of windows that may overlap. out[i] = max over taps t < window of in[i·stride + t].

    With `ceil`, the last window may overhang the map, and its part inside of the map counts. Without `ceil` that window
    is left out, and so are the last pixels that no other window reaches.

    Example:
        >>> [WindowMaxPool(window=2, stride=2, ceil=ceil).output_size(0, 5) for ceil in (False, True)]
        [2, 3]
    """

    kind: ClassVar[str] = "window_max_pool"
    window: int
    stride: int
    ceil: bool = False

    def downsampling(self, axis: int) -> int:
        return self.stride

    def output_size(self, axis: int, *sizes: int) -> int:
        steps = sizes[0] - self.window
        out = (-(-steps // self.stride) if self.ceil else steps // self.stride) + 1
        if out < 1:
            raise SizeError(f"a pooling window of {self.window} has no output for a size of {sizes[0]}")
        return out

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] * self.stride, (output[1] - 1) * self.stride + self.window),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, s = inputs[0], self.stride
        out = [self.output_size(axis, n) for axis, n in enumerate(x.shape[1:-1])]
        overhang = [max((m - 1) * s + self.window - n, 0) for m, n in zip(out, x.shape[1:-1], strict=True)]
        x = np.pad(x, [(0, 0), *((0, o) for o in overhang), (0, 0)], constant_values=-np.inf)
        taps = itertools.product(range(self.window), repeat=x.ndim - 2)
        spans = [[slice(t, t + (m - 1) * s + 1, s) for t, m in zip(tap, out, strict=True)] for tap in taps]
        return np.maximum.reduce([x[(slice(None), *span)] for span in spans])

    def summary(self) -> str:
        return f"{self.window} stride {self.stride}" + (", overhanging" if self.ceil else "")


@dataclass(frozen=True)
class GlobalAvgPool(Op):
    """The mean over the whole map, which becomes one pixel."""

    kind: ClassVar[str] = "global_avg_pool"
    bounded = False

    def output_size(self, axis: int, *sizes: int) -> int:
        return 1

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((0, sizes[0]),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0].mean(tuple(range(1, inputs[0].ndim - 1)), keepdims=True)


@dataclass(frozen=True)
class ChannelMean(Op):
    """The mean over the channels, at each position."""

    kind: ClassVar[str] = "channel_mean"

    def channels(self, *inputs: int) -> int:
        return 1

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0].mean(-1, keepdims=True)


@dataclass(frozen=True)
class ChannelMax(ChannelMean):
    """The maximum over the channels, at each position."""

    kind: ClassVar[str] = "channel_max"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0].max(-1, keepdims=True)


@dataclass(frozen=True)
class NearestUpsample(Op):
    """Nearest-neighbour upsampling: repeats each pixel `scale` times along each axis."""

    kind: ClassVar[str] = "nearest_upsample"
    scale: int

    def output_size(self, axis: int, *sizes: int) -> int:
        return sizes[0] * self.scale

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] // self.scale, (output[1] - 1) // self.scale + 1),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        for axis in range(1, x.ndim - 1):
            x = x.repeat(self.scale, axis)
        return x

    def summary(self) -> str:
        return f"x{self.scale} nearest"
