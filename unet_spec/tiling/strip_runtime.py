"""Runs a network strip by strip, in any framework: the loop, and each operation on a few rows of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..ops import Concat, Conv, Crop, MaxPool, Pad, Upsample
from .strips import Step, Strip, check_strips, plan_strips

Array = Any
"""An array of the framework: a jax.Array or a torch.Tensor."""
Margins = Sequence[tuple[int, int]]
"""Numbers of zeros before and after a map, per spatial axis."""


@dataclass(frozen=True)
class Framework:
    """The functions of a framework that strips need.

    Attributes:
        row_axis, channel_axis: axes of an array, such as 1 and -1 in (N, *spatial, C).
        concat: concatenates arrays along an axis.
        pad: pads an array with zeros.
        max_pool: computes the maximum of each window (pixels per spatial axis).
        along: applies a matrix (out, in), the framework's or NumPy's, along an axis of an array.
        conv: computes the convolution of a module from (array, module, stride, margins), with these margins instead of
            the module's padding.
        copy: copies a part of an array, so that the whole array can be freed.
    """

    row_axis: int
    channel_axis: int
    concat: Callable[[Any, int], Array]
    pad: Callable[[Array, Margins], Array]
    max_pool: Callable[[Array, tuple[int, ...]], Array]
    along: Callable[[Array, int, Any], Array]
    conv: Callable[[Array, Any, tuple[int, ...], Margins], Array]
    copy: Callable[[Array], Array]


class StripRuntime:
    """Runs a twin's model in evaluation mode on images of any height. The twin implements `run`."""

    name: ClassVar[str]
    framework: ClassVar[Framework]

    def __init__(self, model: Any):
        """`model` has modules with the names of the graph's nodes. Raises InputError if strips do not support it."""
        check_strips(model.config.graph)
        self.config = model.config
        model.eval()

    def run(self, strip: Strip, image: np.ndarray, maps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        """The logits of one strip and the new maps, by `advance`. `image` is (1, rows, *others, C)."""
        raise NotImplementedError

    def numpy(self, x: Array) -> np.ndarray:
        """The framework's array as (N, *spatial, C)."""
        raise NotImplementedError

    def stream(
        self, read: Callable[[int, int], np.ndarray], height: int, rows: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The logits from top to bottom, as pairs of the first row and an array (rows, *others, K).

        Args:
            read: reads rows a to b − 1 of the prepared canvas, (b − a, *others, C), on the grid.
            height: number of rows of the canvas.
            rows: number of rows that enter at a time.
        """
        maps: dict[str, Array] = {}
        for strip in plan_strips(self.config.graph, height, rows):
            logits, maps = self.run(strip, np.ascontiguousarray(read(*strip.image)[None]), maps)
            if strip.output[1] > strip.output[0]:
                yield strip.output[0], self.numpy(logits)[0]

    def advance(
        self,
        model: Any,
        strip: tuple[Sequence[Step], Sequence[tuple[str, int]]],
        image: Array,
        maps: dict[str, Array],
        matrices: Mapping[str, Array],
    ) -> Array:
        """The new logits. `strip` has the steps and the rows to free; `maps`, the rows in memory, is updated."""
        graph, axis = self.config.graph, self.framework.row_axis
        steps, free = strip
        self._append(maps, graph.input.name, image)
        for step in steps:
            names = graph[step.name].inputs
            rows = [_part(maps[i], axis, *take) for i, take in zip(names, step.takes, strict=True)]
            self._append(maps, step.name, self._compute(model, step, rows, matrices.get(step.name)))
        logits = maps.get(graph.output.name, image)
        for name, count in free:
            if name in maps and count:
                maps[name] = self.framework.copy(_part(maps[name], axis, count, maps[name].shape[axis]))
        return logits

    def _append(self, maps: dict[str, Array], name: str, rows: Array) -> None:
        old, axis = maps.get(name), self.framework.row_axis
        maps[name] = rows if old is None or not old.shape[axis] else self.framework.concat([old, rows], axis)

    def _compute(self, model: Any, step: Step, inputs: list[Array], matrix: Array | None) -> Array:
        """The new rows of one node."""
        own, op, x = self.framework, self.config.graph[step.name].op, inputs[0]
        others = range(own.row_axis + 1, own.row_axis + self.config.spatial_dims)
        match op:
            case Concat():
                return own.concat(inputs, own.channel_axis)
            case MaxPool():
                return own.max_pool(x, op.window)
            case Crop():
                for axis, margin in zip(others, op.margin[1:], strict=True):
                    x = _part(x, axis, margin, x.shape[axis] - margin)
                return x
            case Pad():
                return own.pad(x, (step.pad, *((m, m) for m in op.margin[1:])))
            case Upsample():
                x = own.along(x, own.row_axis, matrix)
                for axis in others:
                    x = own.along(x, axis, op.matrix(x.shape[axis]))
                return x
            case Conv():
                return own.conv(x, _module(model, step.name), op.stride, (step.pad, *((p, p) for p in op.padding[1:])))
        return _part(_module(model, step.name)(*inputs), own.row_axis, step.drop, step.drop + step.rows)


def _part(x: Array, axis: int, low: int, high: int) -> Array:
    return x[(*[slice(None)] * axis, slice(low, high))]


def _module(model: Any, name: str) -> Any:
    for part in name.split("."):
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model
