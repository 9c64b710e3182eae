"""What an operation is: everything that follows from a layer, said once.

An operation is a frozen dataclass whose fields are its attributes. From it follow the parameters that it owns, the
shape of its output, its multiply-adds, the inputs that one stretch of its output depends on, and how NumPy computes it.
Arrays here are channels-last, (N, *spatial, C); parameters keep PyTorch's shapes and names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

Interval = tuple[int, int]
"""First and last index, both included, along one axis. May reach outside of the axis: that is what padding answers."""


class SizeError(ValueError):
    """A size that an operation cannot take: an odd one before pooling, or nothing left after a convolution."""


@dataclass(frozen=True)
class Param:
    """A tensor that an operation owns.

    Attributes:
        shape: in PyTorch's axis order.
        role: "parameter" (trained), "fixed" (a weight that is not trained) or "buffer" (running statistics).
        std, constant: standard deviation of a zero-mean normal, or the constant that it starts from.
        start: "bilinear" where it starts as the kernel of an interpolation instead.
    """

    shape: tuple[int, ...]
    role: Literal["parameter", "fixed", "buffer"] = "parameter"
    std: float = 0.0
    constant: float = 0.0
    start: Literal["random", "bilinear"] = "random"


@dataclass(frozen=True)
class Op:
    """The base of all operations: by itself, a layer that changes nothing.

    `kind` names the operation in tables and in the weight map. `bounded` is False where every output depends on the
    whole image (a norm over space), so that no tile can reproduce it.
    """

    kind: ClassVar[str] = "identity"
    bounded: ClassVar[bool] = True

    def parameters(self) -> dict[str, Param]:
        """Name to tensor, in PyTorch's order."""
        return {}

    def absent(self) -> set[str]:
        """Tensors that layers of this kind own, but this one does not: a bias, a scale."""
        return set()

    def channels(self, *inputs: int) -> int:
        """Channels out, from channels in."""
        return inputs[0]

    def extent(self, axis: int, *inputs: int) -> int:
        """Length of the output along one spatial axis. Raises SizeError where the input does not fit."""
        return inputs[0]

    def downsampling(self, axis: int) -> int:
        """How many pixels of the input one step in the output passes over; 1 where the output is the larger one."""
        return 1

    def macs(self, inputs: int, outputs: int) -> int:
        """Multiply-adds for one image, from the number of input and output positions (products of the extents)."""
        return 0

    def needs(self, axis: int, wanted: Interval, *extents: int) -> tuple[Interval, ...]:
        """For each input, the interval of it that the interval `wanted` of the output is computed from."""
        return (wanted,) * len(extents)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        """The operation on arrays (N, *spatial, C), in the dtype that it is given."""
        return inputs[0]

    def hyper(self) -> str:
        """The attributes in a few characters, for tables."""
        return ""


def per_axis(values: tuple[int, ...]) -> str:
    """(3, 3) as "3x3"."""
    return "x".join(map(str, values))
