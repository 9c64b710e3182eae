"""The network strip by strip in JAX: see `unet_spec.strips`. `unet_torch/strips.py` is the same in PyTorch.

All strips in the middle of an image are alike and share one compilation (interpolation with aligned corners excepted:
there every strip has its own).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from unet_jax.compiling import compiler_options
from unet_jax.convolution import conv_axes
from unet_jax.windows import max_pool
from unet_spec.ops import Conv, Crop, MaxPool, Pad, Upsample
from unet_spec.strips import Step, check_strips, plan_strips

Steps = tuple[tuple[Step, ...], tuple[tuple[str, int], ...]]


class StripRuntime:
    """Runs a model in evaluation mode on images of any height. Raises InputError where it cannot be done by strips."""

    name = "jax"

    def __init__(self, model: Any):
        """model: of this package, whose modules lie under the names of its graph's nodes."""
        check_strips(model.config.graph)
        model.eval()
        self.config = model.config
        self._graphdef, self._state = nnx.split(model)
        self._strip = jax.jit(self._compute, static_argnums=0, compiler_options=compiler_options())

    def stream(
        self, read: Callable[[int, int], np.ndarray], height: int, rows: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The logits from top to bottom: the first row, and an array (rows, *others, K).

        read(a, b): rows a to b − 1 of the prepared canvas, (b − a, *others, C), on the grid. height: its rows.
        """
        graph = self.config.graph
        maps: dict[str, Array] = {}
        for strip in plan_strips(graph, height, rows):
            image = jnp.asarray(np.ascontiguousarray(read(*strip.image)[None]))
            matrices = {
                name: jnp.asarray(_op(graph, name).matrix(extent)[low:high, first:last], image.dtype)
                for name, ((low, high), (first, last), extent) in strip.absolute.items()
            }
            logits, maps = self._strip((strip.steps, strip.forget), self._state, image, maps, matrices)
            if strip.output[1] > strip.output[0]:
                yield strip.output[0], np.asarray(logits)[0]

    def _compute(
        self, strip: Steps, state: Any, image: Array, maps: dict[str, Array], matrices: dict[str, Array]
    ) -> tuple[Array, dict[str, Array]]:
        """The new logits, and what is kept of every map (N, rows, *others, C)."""
        model, graph, maps = nnx.merge(self._graphdef, state), self.config.graph, dict(maps)
        _append(maps, graph.input.name, image)
        for step in strip[0]:
            _append(maps, step.name, self._rows(model, step, maps, matrices.get(step.name)))
        logits = maps.get(graph.output.name, image)
        return logits, {name: maps[name][:, count:] for name, count in strip[1] if name in maps}

    def _rows(self, model: Any, step: Step, maps: dict[str, Array], matrix: Array | None) -> Array:
        """The new rows of one node."""
        node = self.config.graph[step.name]
        op, others = node.op, range(2, 1 + self.config.spatial_dims)
        given = [maps[name][:, a:b] for name, (a, b) in zip(node.inputs, step.takes, strict=True)]
        x = given[0]
        if op.kind == "concat":
            return jnp.concatenate(given, axis=-1)
        if isinstance(op, MaxPool):
            return max_pool(x, op.window)
        if isinstance(op, Crop):
            for axis in others:
                x = jax.lax.slice_in_dim(x, op.margin[axis - 1], x.shape[axis] - op.margin[axis - 1], axis=axis)
            return x
        if isinstance(op, Pad):
            return jnp.pad(x, [(0, 0), step.pads[0], *((m, m) for m in op.margin[1:]), (0, 0)])
        if isinstance(op, Upsample):
            assert matrix is not None
            x = _along(x, 1, matrix)
            for axis in others:
                x = _along(x, axis, jnp.asarray(op.matrix(x.shape[axis]), x.dtype))
            return x
        module: Any = model
        for part in step.name.split("."):
            module = module[int(part)] if part.isdigit() else getattr(module, part)
        if isinstance(op, Conv):
            y = jax.lax.conv_general_dilated(
                x,
                module.kernel[...],
                op.stride,
                [step.pads[0], *((p, p) for p in op.padding[1:])],
                dimension_numbers=conv_axes(x.ndim),
            )
            return y if module.bias is None else y + module.bias[...]
        return module(x)[:, step.drop : step.drop + step.rows]


def _op(graph: Any, name: str) -> Upsample:
    op = graph[name].op
    assert isinstance(op, Upsample)
    return op


def _append(maps: dict[str, Array], name: str, rows: Array) -> None:
    """Adds rows to the end of what is kept of a map."""
    old = maps.get(name)
    maps[name] = rows if old is None or not old.shape[1] else jnp.concatenate([old, rows], axis=1)


def _along(x: Array, axis: int, matrix: Array) -> Array:
    """The matrix (out, in) applied to one axis."""
    return jnp.moveaxis(jnp.tensordot(matrix, x, (1, axis), precision=jax.lax.Precision.HIGHEST), 0, axis)
