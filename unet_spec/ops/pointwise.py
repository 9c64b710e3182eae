"""Operations that work on each position by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Op, SizeError

_erf = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has none, and SciPy is not among what the spec needs


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2)).astype(x.dtype)),
    "silu": lambda x: x * _sigmoid(x),
}
"""leaky_relu has slope 0.01, elu alpha 1, gelu is the exact one (erf), silu is x · sigmoid(x)."""


@dataclass(frozen=True)
class Input(Op):
    """Where the image, or another input, enters.

    `features` is its number of channels; every extent must be a multiple of `multiple`.
    """

    kind: ClassVar[str] = "input"
    features: int
    multiple: int = 1

    def channels(self, *inputs: int) -> int:
        return self.features

    def extent(self, axis: int, *inputs: int) -> int:
        if inputs[0] % self.multiple:
            raise SizeError(f"{inputs[0]} is no multiple of {self.multiple}")
        return inputs[0]


@dataclass(frozen=True)
class Activation(Op):
    """One of ACTIVATIONS, value by value."""

    kind: ClassVar[str] = "activation"
    function: str = "relu"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return ACTIVATIONS[self.function](inputs[0])

    def hyper(self) -> str:
        return self.function


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """x where x ≥ 0, else slope · x, with a slope of one's own choice."""

    function: str = "leaky_relu"
    slope: float = 0.01

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.where(inputs[0] >= 0, inputs[0], np.asarray(self.slope, inputs[0].dtype) * inputs[0])

    def hyper(self) -> str:
        return f"leaky_relu {self.slope:g}"


@dataclass(frozen=True)
class Dropout(Op):
    """In training, zeroes values with probability `rate` and scales the rest by 1 / (1 − rate); else nothing.

    The reference draws no random numbers: in training it takes the mask (1 = kept) as if it were a parameter, "mask".
    """

    kind: ClassVar[str] = "dropout"
    rate: float = 0.5

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0] * params["mask"] / (1 - self.rate) if training else inputs[0]

    def hyper(self) -> str:
        return f"{self.rate:g}"


@dataclass(frozen=True)
class Concat(Op):
    """Joins maps of one size along the channels, in the order of its inputs."""

    kind: ClassVar[str] = "concat"

    def channels(self, *inputs: int) -> int:
        return sum(inputs)

    def extent(self, axis: int, *inputs: int) -> int:
        if len(set(inputs)) != 1:
            raise SizeError(f"maps of sizes {', '.join(map(str, inputs))} cannot be concatenated")
        return inputs[0]

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.concatenate(inputs, axis=-1)
