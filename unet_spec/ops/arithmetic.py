"""Operations on several maps of one size: sums, products, means, concatenation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from .base import Op, SizeError


@dataclass(frozen=True)
class Elementwise(Op):
    """Base class: all maps have the same size, and each has either the same number of channels or one."""

    def channels(self, *inputs: int) -> int:
        if len(set(inputs) - {1}) > 1:
            raise ValueError(f"maps with {inputs} channels cannot be combined")
        return max(inputs)

    def output_size(self, axis: int, *sizes: int) -> int:
        if len(set(sizes)) != 1:
            raise SizeError(f"maps of sizes {', '.join(map(str, sizes))} cannot be combined")
        return sizes[0]


@dataclass(frozen=True)
class Add(Elementwise):
    """The sum of its inputs, value by value."""

    kind: ClassVar[str] = "add"
    homogeneous = "all"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.add, inputs)


@dataclass(frozen=True)
class Multiply(Elementwise):
    """The product of its inputs, value by value. A gate of one channel applies to all channels."""

    kind: ClassVar[str] = "multiply"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.multiply, inputs)


@dataclass(frozen=True)
class Average(Elementwise):
    """The mean of its inputs, value by value."""

    kind: ClassVar[str] = "average"
    homogeneous = "all"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.add, inputs) / len(inputs)


@dataclass(frozen=True)
class Concat(Elementwise):
    """Joins its inputs along the channels, in their order."""

    kind: ClassVar[str] = "concat"
    rowwise = True

    def channels(self, *inputs: int) -> int:
        return sum(inputs)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.concatenate(inputs, axis=-1)
