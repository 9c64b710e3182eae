"""Operations that join several networks into one: a scale and a shift per channel, and the mean of probabilities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .arithmetic import Elementwise
from .base import Op, Param


@dataclass(frozen=True)
class ScaleShift(Op):
    """weight · x + bias, with one weight and one bias for each of `features` channels. They are not trained.

    Example:
        >>> ScaleShift(1).compute({"weight": np.array([2.0]), "bias": np.array([1.0])}, np.array([[3.0]]))
        array([[7.]])
    """

    kind: ClassVar[str] = "scale_shift"
    rowwise = float32 = True
    scaling = ("weight", "bias")
    features: int

    def parameters(self) -> dict[str, Param]:
        return {
            "weight": Param((self.features,), "fixed", constant=1.0),
            "bias": Param((self.features,), "fixed"),
        }

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0] * params["weight"] + params["bias"]


@dataclass(frozen=True)
class MeanProbability(Elementwise):
    """Logits of the mean of the inputs' probabilities, for n inputs x_i with K channels.

    "softmax": log((1 / n) Σ_i softmax(x_i)), whose softmax is the mean of the softmaxes. "sigmoid": the logit of
    (1 / n) Σ_i sigmoid(x_i), each channel by itself. Both are computed by log-sum-exp, so that they are also exact
    where a probability is too small for a float.

    Example:
        >>> x, y = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
        >>> np.exp(MeanProbability().compute({}, x, y)).round(3)
        array([[0.7, 0.3]])
    """

    kind: ClassVar[str] = "mean_probability"
    rowwise = float32 = True
    function: Literal["softmax", "sigmoid"] = "softmax"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        if self.function == "softmax":
            logs = [x - np.logaddexp.reduce(x, axis=-1, keepdims=True) for x in inputs]
            return np.logaddexp.reduce(logs, axis=0) - math.log(len(inputs))
        inside, outside = ([-np.logaddexp(0, sign * x) for x in inputs] for sign in (-1, 1))
        return np.logaddexp.reduce(inside, axis=0) - np.logaddexp.reduce(outside, axis=0)

    def summary(self) -> str:
        return self.function
