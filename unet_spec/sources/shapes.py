"""Queries on names and shapes of tensors, from which every source infers its network."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

from ..errors import InputError

Shape = tuple[int, ...]


class Shapes:
    """The shapes of a checkpoint's tensors. A query for a missing tensor raises an error that names it.

    Attributes:
        shapes: shapes in the file, by name.
        where: the file and its presumed source, for messages.
    """

    def __init__(self, shapes: Mapping[str, Shape], where: str):
        self.shapes, self.where = shapes, where

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def of(self, name: str, axes: int | None = None) -> Shape:
        """The shape of a tensor. Raises InputError if it is missing, or does not have `axes` axes."""
        if name not in self.shapes:
            raise InputError(f"{self.where}: the tensor {name} is missing")
        shape = self.shapes[name]
        if axes is not None and len(shape) != axes:
            raise InputError(f"{self.where}: {name} has shape {shape}; it must have {axes} axes")
        return shape

    def conv(self, name: str) -> Shape:
        """(out, in, *kernel) of a convolution's weight, or (in, out, *kernel) of a transposed one's."""
        shape = self.of(name)
        if len(shape) not in (4, 5):
            raise InputError(f"{self.where}: {name} has shape {shape}; a convolution's has 4 or 5 axes")
        return shape

    def count(self, pattern: str, start: int = 0) -> int:
        """The first of start, start + 1, … for which no tensor has the name pattern.format(n)."""
        return next(n for n in itertools.count(start) if pattern.format(n) not in self.shapes)

    def depth(self, pattern: str) -> int:
        """The count of a pattern. Raises InputError if it does not occur."""
        self.of(pattern.format(0))
        return self.count(pattern)

    def any(self, start: str, end: str) -> bool:
        """Whether any name begins with `start` and ends with `end`, which holds also if some layers are missing."""
        return any(name.startswith(start) and name.endswith(end) for name in self.shapes)

    def norm(self, start: str, end: str) -> Literal["batch", "instance", "none"]:
        """The norm of layers whose names begin with `start` and end with `end`. Batch norm has running statistics; a
        norm with only a scale is taken for an instance norm."""
        if self.any(start, f"{end}.running_mean"):
            return "batch"
        return "instance" if self.any(start, f"{end}.weight") else "none"

    def refuse(self, why: str) -> InputError:
        """The error to raise for a variant that is not supported."""
        return InputError(f"{self.where}: {why}")
