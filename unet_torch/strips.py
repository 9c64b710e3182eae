"""The network strip by strip in PyTorch: see `unet_spec.strips`. `unet_jax/strips.py` is the same in JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unet_spec.ops import Crop, MaxPool, Pad, Upsample
from unet_spec.strips import Step, Strip, check_strips, plan_strips


class StripRuntime:
    """Runs a model in evaluation mode on images of any height. Raises InputError where it cannot be done by strips."""

    name = "torch"

    def __init__(self, model: Any):
        """model: of this package, whose modules lie under the names of its graph's nodes."""
        check_strips(model.config.graph)
        self.config, self.model = model.config, model.eval()
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype

    @torch.inference_mode()
    def stream(
        self, read: Callable[[int, int], np.ndarray], height: int, rows: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The logits from top to bottom: the first row, and an array (rows, *others, K).

        read(a, b): rows a to b − 1 of the prepared canvas, (b − a, *others, C), on the grid. height: its rows.
        """
        graph = self.config.graph
        maps: dict[str, Tensor] = {}
        for strip in plan_strips(graph, height, rows):
            image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(read(*strip.image), -1, 0)[None]))
            _append(maps, graph.input.name, image.to(self.device, self.dtype))
            for step in strip.steps:
                _append(maps, step.name, self._compute(step, strip, maps))
            if strip.output[1] > strip.output[0]:
                yield strip.output[0], np.moveaxis(maps[graph.output.name][0].cpu().numpy(), 0, -1)
            for name, count in strip.forget:
                if name in maps and count:
                    left = maps[name][:, :, count:]
                    maps[name] = left.clone() if left.shape[2] else left[:, :, :0].clone()

    def _compute(self, step: Step, strip: Strip, maps: dict[str, Tensor]) -> Tensor:
        """The new rows (N, C, rows, *others) of one node."""
        node = self.config.graph[step.name]
        op, others = node.op, range(3, 2 + self.config.spatial_dims)
        given = [maps[name][:, :, a:b] for name, (a, b) in zip(node.inputs, step.takes, strict=True)]
        x = given[0]
        if op.kind == "concat":
            return torch.cat(given, dim=1)
        if isinstance(op, MaxPool):
            return F.max_pool2d(x, op.window) if len(op.window) == 2 else F.max_pool3d(x, op.window)
        if isinstance(op, Crop):
            for axis in others:
                x = x.narrow(axis, op.margin[axis - 2], x.shape[axis] - 2 * op.margin[axis - 2])
            return x
        if isinstance(op, Pad):
            return F.pad(x, [n for axis in reversed(others) for n in (op.margin[axis - 2],) * 2] + [*step.pads[0]])
        if isinstance(op, Upsample):
            (low, high), (first, last), extent = strip.absolute[step.name]
            x = _along(x, 2, op.matrix(extent)[low:high, first:last])
            for axis in others:
                x = _along(x, axis, op.matrix(x.shape[axis]))
            return x
        module = self.model.get_submodule(step.name)
        if op.kind == "conv":
            if any(step.pads[0]):
                x = F.pad(x, [0, 0] * len(others) + [*step.pads[0]])
            convolve = F.conv2d if self.config.spatial_dims == 2 else F.conv3d
            return convolve(x, module.weight, module.bias, op.stride, (0, *op.padding[1:]))  # type: ignore[attr-defined]
        return module(x)[:, :, step.drop : step.drop + step.rows]


def _append(maps: dict[str, Tensor], name: str, rows: Tensor) -> None:
    """Adds rows to the end of what is kept of a map."""
    old = maps.get(name)
    maps[name] = rows if old is None or not old.shape[2] else torch.cat([old, rows], dim=2)


def _along(x: Tensor, axis: int, matrix: np.ndarray) -> Tensor:
    """The matrix (out, in) applied to one axis."""
    weights = torch.as_tensor(matrix, dtype=x.dtype, device=x.device)
    return torch.movedim(torch.movedim(x, axis, -1) @ weights.T, -1, axis)
