"""Bringing a map to the size of another: a cut or zeros on one side more than on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.ops.base import Interval, Op, SizeError


@dataclass(frozen=True)
class CropLike(Op):
    """Cuts the first input to the size of the second, beginning at `offset` on each spatial axis (FCN's crops)."""

    kind: ClassVar[str] = "crop_like"
    offset: int

    def extent(self, axis: int, *inputs: int) -> int:
        if inputs[0] < self.offset + inputs[1]:
            raise SizeError(f"{inputs[1]} pixels from {self.offset} on cannot be cut from {inputs[0]}")
        return inputs[1]

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        # Of the second only the size matters; it is used at the same places anyway.
        return (wanted[0] + self.offset, wanted[1] + self.offset), wanted

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return inputs[0][(slice(None), *(slice(self.offset, self.offset + n) for n in inputs[1].shape[1:-1]))]

    def hyper(self) -> str:
        return f"from {self.offset}"


@dataclass(frozen=True)
class ExpandLike(Op):
    """Repeats a map of one pixel to the size of the second input."""

    kind: ClassVar[str] = "expand_like"

    def extent(self, axis: int, *inputs: int) -> int:
        if inputs[0] != 1:
            raise SizeError(f"only a map of one pixel can be repeated, not one of {inputs[0]}")
        return inputs[1]

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        return (0, 0), wanted

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.broadcast_to(inputs[0], (*inputs[1].shape[:-1], inputs[0].shape[-1]))


@dataclass(frozen=True)
class RepeatLike(Op):
    """Repeats the maps of one image for every sample of the second input, which has as many as there are hypotheses."""

    kind: ClassVar[str] = "repeat_like"

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        return wanted, (0, 0)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        return np.broadcast_to(inputs[0], (max(map(len, inputs)), *inputs[0].shape[1:]))


@dataclass(frozen=True)
class PadEnd(Op):
    """Adds `margin` zeros at the high end of each spatial axis."""

    kind: ClassVar[str] = "pad_end"
    margin: int

    def extent(self, axis: int, *inputs: int) -> int:
        return inputs[0] + self.margin

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x = inputs[0]
        return np.pad(x, [(0, 0), *[(0, self.margin)] * (x.ndim - 2), (0, 0)])

    def hyper(self) -> str:
        return f"{self.margin} zeros at the end"
