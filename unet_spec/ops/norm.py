"""Normalisations: y = weight · (x − mean) / sqrt(variance + eps) + bias. They differ in the axes that are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Op, Param


def _normalize(x: np.ndarray, axes: tuple[int, ...], eps: float) -> np.ndarray:
    """(x − mean) / sqrt(biased variance + eps) over `axes`."""
    centred = x - x.mean(axes, keepdims=True)
    return centred / np.sqrt(np.square(centred).mean(axes, keepdims=True) + eps)


@dataclass(frozen=True)
class Norm(Op):
    """Base class: a scale, called weight, and a shift, called bias, for each of `features` channels."""

    scaling = ("weight", "bias")
    features: int
    eps: float = 1e-5

    def parameters(self) -> dict[str, Param]:
        return {"weight": Param((self.features,), constant=1.0), "bias": Param((self.features,))}


@dataclass(frozen=True)
class BatchNorm(Norm):
    """Normalises over batch and space (Ioffe and Szegedy 2015); in evaluation it uses the running statistics.

    running ← (1 − momentum) · running + momentum · batch, where the batch's variance is the unbiased one (divided by
    n − 1), as in PyTorch; the normalisation itself uses the biased one.
    """

    kind: ClassVar[str] = "batch_norm"
    rowwise = in_place = True
    momentum: float = 0.1

    def parameters(self) -> dict[str, Param]:
        return super().parameters() | {
            "running_mean": Param((self.features,), "buffer"),
            "running_var": Param((self.features,), "buffer", constant=1.0),
        }

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        if training:
            y = _normalize(x, tuple(range(x.ndim - 1)), self.eps)
        else:
            y = (x - params["running_mean"]) / np.sqrt(params["running_var"] + self.eps)
        return y * params["weight"] + params["bias"]

    def updated(self, params: Mapping[str, np.ndarray], x: np.ndarray) -> dict[str, np.ndarray]:
        """The running statistics after one training step that saw `x` (N, *spatial, C)."""
        axes, m = tuple(range(x.ndim - 1)), self.momentum
        return {
            "running_mean": (1 - m) * params["running_mean"] + m * x.mean(axes),
            "running_var": (1 - m) * params["running_var"] + m * x.var(axes, ddof=1),
        }


@dataclass(frozen=True)
class GroupNorm(Norm):
    """Normalises over space and the channels of one group (Wu and He 2018). Consecutive channels form a group."""

    kind: ClassVar[str] = "group_norm"
    bounded = False
    float32 = True  # up to a million squares are summed
    groups: int = 8

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        grouped = x.reshape(*x.shape[:-1], self.groups, -1)
        axes = (*range(1, x.ndim - 1), x.ndim)
        return _normalize(grouped, axes, self.eps).reshape(x.shape) * params["weight"] + params["bias"]

    def summary(self) -> str:
        return f"{self.groups} groups"


@dataclass(frozen=True)
class InstanceNorm(Norm):
    """Normalises each channel of each image over space (Ulyanov et al. 2016), with scale and shift."""

    kind: ClassVar[str] = "instance_norm"
    bounded = False
    float32 = True

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        return _normalize(x, tuple(range(1, x.ndim - 1)), self.eps) * params["weight"] + params["bias"]


@dataclass(frozen=True)
class LayerNorm(Norm):
    """Normalises over the channels at each position (Ba et al. 2016)."""

    kind: ClassVar[str] = "layer_norm"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return _normalize(inputs[0], (-1,), self.eps) * params["weight"] + params["bias"]
