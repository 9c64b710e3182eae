"""Operations that work on each position by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Op, SizeError

_erf = np.vectorize(math.erf, otypes=[np.float64])  # NumPy has no erf, and this package does not depend on SciPy


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * 0.5 * (1 + _erf(x / math.sqrt(2)).astype(x.dtype)),
    "silu": lambda x: x * _sigmoid(x),
}
"""By name. leaky_relu has slope 0.01, elu has alpha 1, gelu is exact (by erf), silu is x · sigmoid(x)."""


@dataclass(frozen=True)
class Input(Op):
    """The image, or another input: `features` channels, and every size a multiple of `multiple`."""

    kind: ClassVar[str] = "input"
    features: int
    multiple: int = 1

    def channels(self, *inputs: int) -> int:
        return self.features

    def output_size(self, axis: int, *sizes: int) -> int:
        if sizes[0] % self.multiple:
            raise SizeError(f"{sizes[0]} is not a multiple of {self.multiple}")
        return sizes[0]


@dataclass(frozen=True)
class Activation(Op):
    """One of ACTIVATIONS, value by value.

    Example:
        >>> Activation("elu").compute({}, np.array([-1.0, 2.0])).round(3)
        array([-0.632,  2.   ])
    """

    kind: ClassVar[str] = "activation"
    rowwise = in_place = True
    function: str = "relu"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return ACTIVATIONS[self.function](inputs[0])

    def summary(self) -> str:
        return self.function


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """x where x ≥ 0, else slope · x."""

    function: str = "leaky_relu"
    slope: float = 0.01

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.where(inputs[0] >= 0, inputs[0], np.asarray(self.slope, inputs[0].dtype) * inputs[0])

    def summary(self) -> str:
        return f"leaky_relu {self.slope:g}"


@dataclass(frozen=True)
class Dropout(Op):
    """Zeroes values with probability `rate` in training and scales the rest by 1 / (1 − rate); the identity in
    evaluation. `compute` draws no random numbers: it takes the mask (1 = kept) from its parameters, "mask".

    Example:
        >>> x = np.ones((1, 4, 1))
        >>> Dropout(0.5).compute({"mask": np.array([1, 0, 0, 1]).reshape(1, 4, 1)}, x, training=True).ravel()
        array([2., 0., 0., 2.])
    """

    kind: ClassVar[str] = "dropout"
    rowwise = in_place = True
    rate: float = 0.5

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0] * params["mask"] / (1 - self.rate) if training else inputs[0]

    def summary(self) -> str:
        return f"{self.rate:g}"
