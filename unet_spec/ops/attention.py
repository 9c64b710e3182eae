"""The layers of a transformer, on maps: every pixel is a token, and the channels are its features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Interval, Op, Param, per_axis


@dataclass(frozen=True)
class Linear(Op):
    """out = weight · in + bias over the channels, at each position. Weight shape: (out_features, in_features)."""

    kind: ClassVar[str] = "linear"
    in_features: int
    out_features: int

    def parameters(self) -> dict[str, Param]:
        weight = Param((self.out_features, self.in_features), std=self.in_features**-0.5)
        return {"weight": weight, "bias": Param((self.out_features,))}

    def channels(self, *inputs: int) -> int:
        return self.out_features

    def macs(self, inputs: int, outputs: int) -> int:
        return self.in_features * self.out_features * outputs

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0] @ params["weight"].T + params["bias"]


@dataclass(frozen=True)
class Attention(Op):
    """Scaled dot-product attention of queries, keys and values (its three inputs) over all pixels, by heads.

    softmax(q · kᵀ / sqrt(d)) · v in each of `heads` consecutive groups of d channels (Vaswani et al. 2017, eq. 1).
    """

    kind: ClassVar[str] = "attention"
    bounded = False
    features: int
    heads: int

    def macs(self, inputs: int, outputs: int) -> int:
        return 2 * inputs * outputs * self.features  # queries by keys, weights by values

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return (output, (0, sizes[1]), (0, sizes[2]))

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        q, k, v = (x.reshape(len(x), -1, self.heads, self.features // self.heads).swapaxes(1, 2) for x in inputs)
        scores = q @ k.swapaxes(2, 3) / np.sqrt(np.array(self.features // self.heads, q.dtype))
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        return (weights @ v).swapaxes(1, 2).reshape(inputs[0].shape)

    def summary(self) -> str:
        return f"{self.heads} heads"


@dataclass(frozen=True)
class PositionEmbedding(Op):
    """Adds a trained vector to each pixel, one for each position of a `grid`.

    For a map of another size, the vectors are interpolated linearly with aligned corners. Weight shape: (1, positions,
    features), positions in row-major order.
    """

    kind: ClassVar[str] = "position_embedding"
    bounded = False  # its values depend on the size of the whole map
    features: int
    grid: tuple[int, ...]

    def parameters(self) -> dict[str, Param]:
        return {"weight": Param((1, math.prod(self.grid), self.features), std=0.02)}

    @staticmethod
    def matrix(places: int, n: int) -> np.ndarray:
        """The (n, places) float64 matrix of interpolation weights along one axis; the identity where n = places."""
        position = np.arange(n) * (places - 1) / max(n - 1, 1)
        return np.maximum(0.0, 1 - np.abs(position[:, None] - np.arange(places)))

    def resized(self, weight: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
        """The vectors (*size, features) for a map of `size` pixels per axis."""
        vectors = weight.reshape(*self.grid, self.features)
        for axis, n in enumerate(size):
            matrix = self.matrix(self.grid[axis], n).astype(weight.dtype)
            vectors = np.moveaxis(np.tensordot(matrix, vectors, (1, axis)), 0, axis)
        return vectors

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0] + self.resized(params["weight"], inputs[0].shape[1:-1])

    def summary(self) -> str:
        return per_axis(self.grid)
