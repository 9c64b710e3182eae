"""Relatives of convolution, transposed convolution and norms. They are mapped as those are: their kind is the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Interval, Op, Param
from unet_spec.ops.convolution import Conv, ConvTranspose
from unet_spec.ops.norm import BatchNorm, InstanceNorm


@dataclass(frozen=True)
class StdConv(Conv):
    """A convolution whose weights are standardised per output channel before use (Qiao et al. 2019, arXiv 1903.10520).

    weight ← (weight − mean) / sqrt(biased variance + eps), over input channels and taps.
    """

    eps: float = 1e-5

    def standardised(self, weight: np.ndarray) -> np.ndarray:
        """The weights (O, I, *kernel) that are convolved with."""
        axes = tuple(range(1, weight.ndim))
        centred = weight - weight.mean(axes, keepdims=True)
        return centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + self.eps)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        own = {**params, "weight": self.standardised(params["weight"])}
        return super().compute(own, *inputs, training=training)

    def hyper(self) -> str:
        return super().hyper() + " standardised"


@dataclass(frozen=True)
class CroppedConvTranspose(ConvTranspose):
    """A transposed convolution of whose output `low` pixels at the beginning and `high` at the end of each axis are
    cut: to twice the size with 3x3 windows and stride 2, (0, 1) in Keras ("same") and (1, 0) in PyTorch (padding 1,
    output_padding 1)."""

    low: int = 0
    high: int = 0

    def extent(self, axis: int, *inputs: int) -> int:
        return super().extent(axis, *inputs) - self.low - self.high

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        return super().needs(axis, (wanted[0] + self.low, wanted[1] + self.low), *extents)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        whole = ConvTranspose(self.in_channels, self.out_channels, self.kernel, self.stride, self.bias)
        y = whole.compute(params, *inputs, training=training)
        return y[(slice(None), *(slice(self.low, n - self.high) for n in y.shape[1:-1]))]

    def hyper(self) -> str:
        return f"{super().hyper()}, cut {self.low} and {self.high}"


def bilinear_kernel(channels: int, kernel: tuple[int, ...]) -> np.ndarray:
    """(channels, channels, *kernel) float64 weights of a transposed convolution that interpolates linearly, each
    channel by itself: (1 − |t − c| / f), f = ceil(k / 2), c = (2f − 1 − f mod 2) / 2f · f (Long et al. 2015, section
    3.3)."""
    taps = np.ones(())
    for k in kernel:
        factor = (k + 1) // 2
        centre = factor - 1 if k % 2 else factor - 0.5
        taps = np.multiply.outer(taps, 1 - np.abs(np.arange(k) - centre) / factor)
    return np.eye(channels).reshape(channels, channels, *[1] * len(kernel)) * taps


@dataclass(frozen=True)
class BilinearConvTranspose(ConvTranspose):
    """A transposed convolution that starts as bilinear interpolation, and with `fixed` remains it: then its weights are
    part of the checkpoint, but are not trained."""

    bias: bool = False
    fixed: bool = True

    def parameters(self) -> dict[str, Param]:
        weight = super().parameters()["weight"]
        return {"weight": Param(weight.shape, "fixed" if self.fixed else "parameter", weight.std, start="bilinear")}

    def hyper(self) -> str:
        return f"{super().hyper()} bilinear" + (", fixed" if self.fixed else "")


@dataclass(frozen=True)
class ShiftBatchNorm(BatchNorm):
    """A batch norm without a scale: y = (x − mean) / sqrt(variance + eps) + bias (Keras' scale=False)."""

    def parameters(self) -> dict[str, Param]:
        return {name: param for name, param in super().parameters().items() if name != "weight"}

    def absent(self) -> set[str]:
        return {"weight"}

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return super().compute({**params, "weight": np.ones((), inputs[0].dtype)}, *inputs, training=training)


@dataclass(frozen=True)
class PlainInstanceNorm(InstanceNorm):
    """An instance norm without scale and shift."""

    def parameters(self) -> dict[str, Param]:
        return {}

    def absent(self) -> set[str]:
        return {"weight", "bias"}

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
    """In training, zeroes squares of `block` pixels, each channel by itself, and scales the rest so that the sum of the
    mask is that of ones; else nothing (Ghiasi, Lin and Le 2018, arXiv 1810.12890).

    A square is centred on each pixel (where it lies wholly inside of the map) with probability
    gamma = (1 − keep) / block² · Π n / Π (n − block + 1), so that about 1 − keep of the pixels are zeroed. Maps smaller
    than a block are left alone. The reference takes the mask (1 = kept) as if it were a parameter, "mask".
    """

    kind: ClassVar[str] = "drop_block"
    keep: float = 0.9
    block: int = 7

    def gamma(self, size: tuple[int, ...]) -> float:
        """The probability of a square, for a map of `size` pixels per axis; 0 where it is smaller than a square."""
        if min(size) < self.block:
            return 0.0
        places = math.prod([n - self.block + 1 for n in size])  # a list: torch.compile takes no generator here
        return (1 - self.keep) / self.block ** len(size) * math.prod(size) / places

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        if not training:
            return inputs[0]
        mask = params["mask"]
        return inputs[0] * mask * (mask.size / mask.sum())

    def hyper(self) -> str:
        return f"{self.block}, keep {self.keep:g}"
