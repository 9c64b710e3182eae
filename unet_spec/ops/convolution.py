"""Convolution and transposed convolution: cross-correlations, as all deep-learning frameworks define them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Interval, Op, Param, SizeError, per_axis


def he_std(fan_in: float) -> float:
    """Standard deviation sqrt(2 / N), N the number of incoming values of one output (He et al. 2015, eq. 10).

    Example:
        >>> he_std(3 * 3 * 64) == (2 / 576) ** 0.5
        True
    """
    return math.sqrt(2.0 / fan_in)


class Kernel(Op):
    """Base class of both: a trained kernel and an optional bias."""

    optional_parameters = frozenset({"bias"})
    convolution = rowwise = True
    scaling = ("weight", "bias")
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    bias: bool

    @property
    def fan_in(self) -> float:
        """Incoming values of one output."""
        return self.in_channels * math.prod(self.kernel)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight, in PyTorch's axis order."""
        channels = (self.out_channels, self.in_channels)
        return (*(channels[::-1] if self.output_axis else channels), *self.kernel)

    def parameters(self) -> dict[str, Param]:
        weight = Param(self.weight_shape, std=he_std(self.fan_in))
        return {"weight": weight} | ({"bias": Param((self.out_channels,))} if self.bias else {})

    def channels(self, *inputs: int) -> int:
        return self.out_channels


@dataclass(frozen=True)
class Conv(Kernel):
    """out[i] = bias + sum over taps t of weight[t] · in[i·stride − padding + t], zeros outside of the input.

    `padding` is a number of zeros per side and axis. Weight shape: (out_channels, in_channels, *kernel).
    """

    kind: ClassVar[str] = "conv"
    zero_padded = True
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    bias: bool = True

    def output_size(self, axis: int, *sizes: int) -> int:
        out = (sizes[0] + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1
        if out < 1:
            raise SizeError(f"a {per_axis(self.kernel)} convolution has no output for a size of {sizes[0]}")
        return out

    def downsampling(self, axis: int) -> int:
        return self.stride[axis]

    def macs(self, inputs: int, outputs: int) -> int:
        return math.prod(self.weight_shape) * outputs

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        s, p, k = self.stride[axis], self.padding[axis], self.kernel[axis]
        return ((output[0] * s - p, (output[1] - 1) * s - p + k),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, weight = inputs[0], params["weight"]
        out = [self.output_size(axis, n) for axis, n in enumerate(x.shape[1:-1])]
        x = np.pad(x, [(0, 0), *((p, p) for p in self.padding), (0, 0)])
        y = np.zeros((x.shape[0], *out, self.out_channels), np.result_type(x, weight))
        for tap in itertools.product(*map(range, self.kernel)):
            window = tuple(slice(t, t + n * s, s) for t, n, s in zip(tap, out, self.stride, strict=True))
            y += x[(slice(None), *window)] @ weight[(slice(None), slice(None), *tap)].T
        return y + params["bias"] if self.bias else y

    def summary(self) -> str:
        return per_axis(self.kernel) + ("" if any(self.padding) or math.prod(self.kernel) == 1 else " valid")


@dataclass(frozen=True)
class ConvTranspose(Kernel):
    """The transpose of a strided convolution: out[i·stride + t] += weight[t]ᵀ · in[i]; bias added to all.

    Weight shape: (in_channels, out_channels, *kernel), as in PyTorch. The output is not cropped.

    Example:
        >>> up = ConvTranspose(1024, 512, kernel=(2, 2), stride=(2, 2))
        >>> up.output_size(0, 28), up.input_intervals(0, (10, 20), 28)
        (56, ((5, 10),))
    """

    kind: ClassVar[str] = "conv_transpose"
    output_axis = 1
    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    bias: bool = True

    @property
    def fan_in(self) -> float:
        """Each output sees kernel / stride taps per axis, not all of them."""
        return super().fan_in / math.prod(self.stride)

    def output_size(self, axis: int, *sizes: int) -> int:
        return (sizes[0] - 1) * self.stride[axis] + self.kernel[axis]

    def macs(self, inputs: int, outputs: int) -> int:
        return math.prod(self.weight_shape) * inputs

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        s, k = self.stride[axis], self.kernel[axis]
        return ((-((k - 1 - output[0]) // s), (output[1] - 1) // s + 1),)

    def leading_outputs(self, axis: int, first: int, first_input: int) -> int:
        return first - first_input * self.stride[axis]

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, weight = inputs[0], params["weight"]
        out = [self.output_size(axis, n) for axis, n in enumerate(x.shape[1:-1])]
        y = np.zeros((x.shape[0], *out, self.out_channels), np.result_type(x, weight))
        for tap in itertools.product(*map(range, self.kernel)):
            window = tuple(slice(t, t + n * s, s) for t, n, s in zip(tap, x.shape[1:-1], self.stride, strict=True))
            y[(slice(None), *window)] += x @ weight[(slice(None), slice(None), *tap)]
        return y + params["bias"] if self.bias else y

    def summary(self) -> str:
        return f"{per_axis(self.kernel)} stride {per_axis(self.stride)}"
