"""Convolution and transposed convolution: cross-correlations, as all deep-learning frameworks define them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Interval, Op, Param, SizeError, per_axis


def he_std(fan_in: float) -> float:
    """Standard deviation sqrt(2 / N), N the number of incoming values of one output (He et al. 2015, eq. 10)."""
    return math.sqrt(2.0 / fan_in)


@dataclass(frozen=True)
class Conv(Op):
    """out[i] = bias + sum over taps t of weight[t] · in[i·stride − padding + t], zeros outside of the input.

    `padding` is a number of zeros per side and axis. Weight shape: (out_channels, in_channels, *kernel).
    """

    kind: ClassVar[str] = "conv"
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    bias: bool = True

    @property
    def fan_in(self) -> int:
        return self.in_channels * math.prod(self.kernel)

    def parameters(self) -> dict[str, Param]:
        weight = Param((self.out_channels, self.in_channels, *self.kernel), std=he_std(self.fan_in))
        return {"weight": weight} | ({"bias": Param((self.out_channels,))} if self.bias else {})

    def absent(self) -> set[str]:
        return set() if self.bias else {"bias"}

    def channels(self, *inputs: int) -> int:
        return self.out_channels

    def extent(self, axis: int, *inputs: int) -> int:
        out = (inputs[0] + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1
        if out < 1:
            raise SizeError(f"a {per_axis(self.kernel)} convolution leaves nothing of a size of {inputs[0]}")
        return out

    def downsampling(self, axis: int) -> int:
        return self.stride[axis]

    def macs(self, inputs: int, outputs: int) -> int:
        return self.fan_in * self.out_channels * outputs

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        s, p, k = self.stride[axis], self.padding[axis], self.kernel[axis]
        return ((wanted[0] * s - p, wanted[1] * s - p + k - 1),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, weight = inputs[0], params["weight"]
        out = [self.extent(axis, n) for axis, n in enumerate(x.shape[1:-1])]
        x = np.pad(x, [(0, 0), *((p, p) for p in self.padding), (0, 0)])
        y = np.zeros((x.shape[0], *out, self.out_channels), np.result_type(x, weight))
        for tap in itertools.product(*map(range, self.kernel)):
            window = tuple(slice(t, t + n * s, s) for t, n, s in zip(tap, out, self.stride, strict=True))
            y += x[(slice(None), *window)] @ weight[(slice(None), slice(None), *tap)].T
        return y + params["bias"] if self.bias else y

    def hyper(self) -> str:
        return per_axis(self.kernel) + ("" if any(self.padding) or math.prod(self.kernel) == 1 else " valid")


@dataclass(frozen=True)
class ConvTranspose(Op):
    """The transpose of a strided convolution: out[i·stride + t] += weight[t]ᵀ · in[i]; bias added to all.

    Weight shape: (in_channels, out_channels, *kernel), PyTorch's. No padding: the whole map is kept.
    """

    kind: ClassVar[str] = "conv_transpose"
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    bias: bool = True

    @property
    def fan_in(self) -> float:
        """Each output sees kernel / stride taps per axis, not all of them."""
        return self.in_channels * math.prod(self.kernel) / math.prod(self.stride)

    def parameters(self) -> dict[str, Param]:
        weight = Param((self.in_channels, self.out_channels, *self.kernel), std=he_std(self.fan_in))
        return {"weight": weight} | ({"bias": Param((self.out_channels,))} if self.bias else {})

    def absent(self) -> set[str]:
        return set() if self.bias else {"bias"}

    def channels(self, *inputs: int) -> int:
        return self.out_channels

    def extent(self, axis: int, *inputs: int) -> int:
        return (inputs[0] - 1) * self.stride[axis] + self.kernel[axis]

    def macs(self, inputs: int, outputs: int) -> int:
        return self.in_channels * self.out_channels * math.prod(self.kernel) * inputs

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        s, k = self.stride[axis], self.kernel[axis]
        return ((-((k - 1 - wanted[0]) // s), wanted[1] // s),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, weight = inputs[0], params["weight"]
        out = [self.extent(axis, n) for axis, n in enumerate(x.shape[1:-1])]
        y = np.zeros((x.shape[0], *out, self.out_channels), np.result_type(x, weight))
        for tap in itertools.product(*map(range, self.kernel)):
            window = tuple(slice(t, t + n * s, s) for t, n, s in zip(tap, x.shape[1:-1], self.stride, strict=True))
            y[(slice(None), *window)] += x @ weight[(slice(None), slice(None), *tap)]
        return y + params["bias"] if self.bias else y

    def hyper(self) -> str:
        return f"{per_axis(self.kernel)} stride {per_axis(self.stride)}"
