"""Sums, products and means of maps of one size: FCN's fusion, residual paths, attention gates, side outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Op, SizeError


@dataclass(frozen=True)
class _Elementwise(Op):
    """Of maps of one size; channels agree, or a map of one channel serves all."""

    def channels(self, *inputs: int) -> int:
        if len(set(inputs) - {1}) > 1:
            raise ValueError(f"maps of {inputs} channels do not go together")
        return max(inputs)

    def extent(self, axis: int, *inputs: int) -> int:
        if len(set(inputs)) != 1:
            raise SizeError(f"maps of sizes {', '.join(map(str, inputs))} do not go together")
        return inputs[0]


@dataclass(frozen=True)
class Add(_Elementwise):
    """The sum of its inputs, value by value."""

    kind: ClassVar[str] = "add"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.add, inputs)


@dataclass(frozen=True)
class Multiply(_Elementwise):
    """The product of its inputs, value by value. A gate of one channel weighs all channels alike."""

    kind: ClassVar[str] = "multiply"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.multiply, inputs)


@dataclass(frozen=True)
class Average(_Elementwise):
    """The mean of its inputs, value by value."""

    kind: ClassVar[str] = "average"

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return reduce(np.add, inputs) / len(inputs)
