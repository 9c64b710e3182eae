"""Computes a network strip by strip in JAX: see `unet_spec.tiling.strips`.

All strips in the middle of an image have the same shape and share one compilation, except with aligned-corner
interpolation, where every strip is compiled by itself.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from unet_spec.tiling import strip_runtime
from unet_spec.tiling.strip_runtime import Framework, Margins
from unet_spec.tiling.strips import Step, Strip

from .compiling import compiler_options
from .nn.spatial import conv_axes, max_pool


def _pad(x: Array, margins: Margins) -> Array:
    return jnp.pad(x, [(0, 0), *margins, (0, 0)])


def _along(x: Array, axis: int, matrix: Any) -> Array:
    weights = jnp.asarray(matrix, x.dtype)
    return jnp.moveaxis(jnp.tensordot(weights, x, (1, axis), precision=jax.lax.Precision.HIGHEST), 0, axis)


def _conv(x: Array, module: Any, stride: tuple[int, ...], margins: Margins) -> Array:
    kernel, axes = module.kernel[...], conv_axes(x.ndim)
    y = jax.lax.conv_general_dilated(x, kernel, stride, margins, dimension_numbers=axes)
    return y if module.bias is None else y + module.bias[...]


class StripRuntime(strip_runtime.StripRuntime):
    """Runs a model in evaluation mode on images of any height; arrays are (N, *spatial, C)."""

    name, framework = "jax", Framework(1, -1, jnp.concatenate, _pad, max_pool, _along, _conv, lambda x: x)

    def __init__(self, model: Any):
        super().__init__(model)
        self._graphdef, self._state = nnx.split(model)
        self._compiled = jax.jit(self._pure, static_argnums=0, compiler_options=compiler_options())

    def run(self, strip: Strip, image: np.ndarray, maps: dict[str, Array]) -> tuple[Array, dict[str, Array]]:
        x = jnp.asarray(image)
        matrices = {name: jnp.asarray(matrix, x.dtype) for name, matrix in strip.matrices.items()}
        return self._compiled((strip.steps, strip.free), self._state, x, maps, matrices)

    def _pure(
        self,
        strip: tuple[tuple[Step, ...], tuple[tuple[str, int], ...]],
        state: Any,
        image: Array,
        maps: dict[str, Array],
        matrices: dict[str, Array],
    ) -> tuple[Array, dict[str, Array]]:
        maps = dict(maps)
        return self.advance(nnx.merge(self._graphdef, state), strip, image, maps, matrices), maps

    def numpy(self, x: Array) -> np.ndarray:
        return np.asarray(x)
