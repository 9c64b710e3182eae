"""Variants of convolutions and norms, which share the `kind` of their base and hence its lines of the weight map."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Interval, Op, Param
from .convolution import Conv, ConvTranspose
from .norm import BatchNorm, InstanceNorm


@dataclass(frozen=True)
class StdConv(Conv):
    """A convolution whose weights are standardised per output channel before use (Qiao et al. 2019, arXiv 1903.10520).

    weight ← (weight − mean) / sqrt(biased variance + eps), over input channels and taps.
    """

    rowwise, scaling = False, ()  # standardisation cancels a factor on the weight
    eps: float = 1e-5

    def standardised(self, weight: np.ndarray) -> np.ndarray:
        """The standardised weights (O, I, *kernel)."""
        axes = tuple(range(1, weight.ndim))
        centred = weight - weight.mean(axes, keepdims=True)
        return centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + self.eps)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        own = {**params, "weight": self.standardised(params["weight"])}
        return super().compute(own, *inputs, training=training)

    def summary(self) -> str:
        return super().summary() + " standardised"


@dataclass(frozen=True)
class CroppedConvTranspose(ConvTranspose):
    """A transposed convolution whose output loses `low` pixels at the beginning and `high` at the end of each axis.

    With a 3x3 kernel and stride 2, (low, high) = (0, 1) and (1, 0) double the size. The first is Keras' "same", the
    second is PyTorch's padding 1 and output_padding 1.

    Example:
        >>> CroppedConvTranspose(8, 4, kernel=(3, 3), stride=(2, 2), low=0, high=1).output_size(0, 14)
        28
    """

    low: int = 0
    high: int = 0

    def output_size(self, axis: int, *sizes: int) -> int:
        return super().output_size(axis, *sizes) - self.low - self.high

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return super().input_intervals(axis, (output[0] + self.low, output[1] + self.low), *sizes)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        whole = ConvTranspose(self.in_channels, self.out_channels, self.kernel, self.stride, self.bias)
        y = whole.compute(params, *inputs, training=training)
        return y[(slice(None), *(slice(self.low, n - self.high) for n in y.shape[1:-1]))]

    def summary(self) -> str:
        return f"{super().summary()}, cut {self.low} and {self.high}"


def bilinear_kernel(channels: int, kernel: tuple[int, ...]) -> np.ndarray:
    """The weights of a transposed convolution that interpolates each channel linearly (Long et al. 2015, section 3.3).

    Along each axis, tap t has the weight 1 − |t − c| / f, with f = ceil(k / 2) and the centre c = f − 1 for odd k,
    f − ½ for even k.

    Returns:
        (channels, channels, *kernel) float64.

    Example:
        >>> bilinear_kernel(1, (4,))[0, 0]
        array([0.25, 0.75, 0.75, 0.25])
    """
    taps = np.ones(())
    for k in kernel:
        factor = (k + 1) // 2
        centre = factor - 1 if k % 2 else factor - 0.5
        taps = np.multiply.outer(taps, 1 - np.abs(np.arange(k) - centre) / factor)
    return np.eye(channels).reshape(channels, channels, *[1] * len(kernel)) * taps


@dataclass(frozen=True)
class BilinearConvTranspose(ConvTranspose):
    """A transposed convolution whose initial weights interpolate linearly.

    With `fixed`, they are part of the checkpoint but are not trained.
    """

    bias: bool = False
    fixed: bool = True

    def parameters(self) -> dict[str, Param]:
        weight = super().parameters()["weight"]
        return {"weight": Param(weight.shape, "fixed" if self.fixed else "parameter", weight.std, start="bilinear")}

    def summary(self) -> str:
        return f"{super().summary()} bilinear" + (", fixed" if self.fixed else "")


@dataclass(frozen=True)
class ShiftBatchNorm(BatchNorm):
    """A batch norm without a scale: y = (x − mean) / sqrt(variance + eps) + bias (Keras' scale=False)."""

    optional_parameters = frozenset({"weight"})
    scaling = ()

    def parameters(self) -> dict[str, Param]:
        return {name: param for name, param in super().parameters().items() if name != "weight"}

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return super().compute({**params, "weight": np.ones((), inputs[0].dtype)}, *inputs, training=training)


@dataclass(frozen=True)
class PlainInstanceNorm(InstanceNorm):
    """An instance norm without scale and shift."""

    optional_parameters = frozenset({"weight", "bias"})
    scaling = ()

    def parameters(self) -> dict[str, Param]:
        return {}

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        zero = np.zeros((), inputs[0].dtype)
        return super().compute({"weight": zero + 1, "bias": zero}, *inputs, training=training)


@dataclass(frozen=True)
class PReLU(Op):
    """x where x ≥ 0, else weight · x, with one trained slope for all channels (He et al. 2015)."""

    kind: ClassVar[str] = "prelu"

    def parameters(self) -> dict[str, Param]:
        return {"weight": Param((1,), constant=0.25)}

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.where(inputs[0] >= 0, inputs[0], params["weight"] * inputs[0])


@dataclass(frozen=True)
class Sigmoid(Op):
    """1 / (1 + exp(−x)), value by value."""

    kind: ClassVar[str] = "sigmoid"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.exp(-np.logaddexp(0, -inputs[0]))


@dataclass(frozen=True)
class DropBlock(Op):
    """Zeroes squares of `block` pixels in training, each channel by itself; the identity in evaluation.

    A square is centred on each pixel (where it lies completely inside of the map) with probability
    gamma = (1 − keep) / block² · Π n / Π (n − block + 1), so that about 1 − keep of the pixels are zeroed (Ghiasi, Lin
    and Le 2018, arXiv 1810.12890). The rest is scaled by the mask's size over its sum. Maps smaller than a block are
    unchanged. `compute` takes the mask (1 = kept) from its parameters, "mask".
    """

    kind: ClassVar[str] = "drop_block"
    keep: float = 0.9
    block: int = 7

    def gamma(self, size: tuple[int, ...]) -> float:
        """The probability of a square, for a map of `size` pixels per axis; 0 if the map is smaller than a square."""
        if min(size) < self.block:
            return 0.0
        places = math.prod([n - self.block + 1 for n in size])  # a list: torch.compile fails on a generator
        return (1 - self.keep) / self.block ** len(size) * math.prod(size) / places

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        if not training:
            return inputs[0]
        mask = params["mask"]
        return inputs[0] * mask * (mask.size / mask.sum())

    def summary(self) -> str:
        return f"{self.block}, keep {self.keep:g}"
