"""A Flax NNX module as one side of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from unet_spec import InputError
from unet_spec.weights.weight_map import rearrange, table

from .capture import Handler, around_nnx, nnx_modules
from .module import Layout, ModuleSide


class NnxSide(ModuleSide):
    """Works on copies, so the module is never called or changed. Runs operation by operation, without jit."""

    channels_first = False

    def __init__(self, model: nnx.Module, name: str, layout: Layout = "channels"):
        super().__init__(model, name, layout)
        self.graphdef, self.parameters, self.rest = nnx.split(model, nnx.Param, ...)
        self._modules = nnx_modules(model)
        floats = [x for x in jax.tree.leaves((self.parameters, self.rest)) if self.is_array(x) and self.eps(x)]
        self.dtype = floats[0].dtype if floats else None
        self.double = any(x.dtype == np.float64 for x in floats)

    def around(self, model: nnx.Module, handler: Handler) -> AbstractContextManager[dict[str, nnx.Module]]:
        return around_nnx(model, handler)

    def _precision(self) -> AbstractContextManager[Any]:
        """Enables float64 in JAX if the module has float64 parameters."""
        return jax.enable_x64(True) if self.double else nullcontext()

    @contextmanager
    def fresh(self) -> Iterator[nnx.Module]:
        with self._precision():
            yield nnx.merge(self.graphdef, self.parameters, self.rest, copy=True)

    def is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, jax.Array | np.ndarray)

    def numpy(self, array: jax.Array) -> np.ndarray:
        if isinstance(array, Tracer):
            raise InputError(
                f"{self.name}: a module is called inside a JAX transformation (vmap, scan, jit), where its values"
                " cannot be seen; compare a version without it"
            )
        values = np.asarray(array)
        return values.astype(np.float32) if values.dtype == jnp.bfloat16 else values

    def native(self, array: np.ndarray, like: Any) -> jax.Array:
        with self._precision():
            as_floats = like is not None and np.issubdtype(array.dtype, np.floating) == jnp.issubdtype(
                like, jnp.floating
            )
            return jnp.array(array, like if as_floats else None)  # a copy

    def like(self, array: jax.Array | None) -> Any:
        return self.dtype if array is None else array.dtype

    def eps(self, array: jax.Array) -> float:
        return float(jnp.finfo(array.dtype).eps) if jnp.issubdtype(array.dtype, jnp.floating) else 0.0

    def weights(self, path: str) -> dict[str, tuple[int, ...]]:
        shapes = {}
        for name, variable in vars(self._modules[path]).items():
            if isinstance(variable, nnx.Param):
                new, axes = self._translation(path, name)
                shapes[new] = tuple(variable.shape) if axes is None else _moved(variable.shape, *axes)
        return shapes

    def vjp(
        self, function: Callable[[Any, list], list], arrays: list, cotangents: Callable[[list], list]
    ) -> tuple[list, dict[str, np.ndarray]]:
        def pure(arrays: list, parameters: Any) -> list:
            return function(nnx.merge(self.graphdef, parameters, self.rest, copy=True), arrays)

        with self._precision():
            outputs, pull = jax.vjp(pure, arrays, self.parameters)
            gradients, parameters = pull(cotangents(outputs))
        named = {}
        for path, variable in nnx.to_flat_state(parameters):
            *module, name = map(str, path)
            gradient = self.numpy(variable[...])
            new, axes = self._translation(".".join(module), name)
            named[".".join((*module, new))] = gradient if axes is None else rearrange(gradient, *axes)
        return gradients, named

    def _translation(self, path: str, name: str) -> tuple[str, tuple[str, str] | None]:
        """The PyTorch name of a parameter, and its axes in Flax and PyTorch (None: the same), for the layers in
        weight_map.toml. Parameters of other layers keep name and axes."""
        module = self._modules.get(path)
        if name == "kernel" and isinstance(module, nnx.Conv | nnx.Linear | nnx.ConvTranspose):
            transposed = isinstance(module, nnx.ConvTranspose)
            line = table()["conv_transpose" if transposed else "conv"]["weight"]
            dims = module.kernel.ndim - 2
            here, there = (
                line[k].replace("...", " ".join(map(str, range(dims)))) for k in ("flax_axes", "pytorch_axes")
            )
            if transposed and not module.transpose_kernel:  # the axes of a convolution, with the window reversed
                here = " ".join([*(f"-{axis}" for axis in range(dims)), "I", "O"])
            return "weight", (here, there)
        return {"scale": "weight", "embedding": "weight"}.get(name, name), None


def _moved(shape: tuple[int, ...], source: str, target: str) -> tuple[int, ...]:
    return rearrange(np.empty(shape, np.bool_), source, target).shape
