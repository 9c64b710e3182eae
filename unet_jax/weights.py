"""Weights in and out of a Flax model, as NumPy arrays under the names of the spec, by way of the weight map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from unet_spec import InputError
from unet_spec.weight_map import to_flax, to_pytorch

if TYPE_CHECKING:
    from unet_jax.network import Network


def variables(model: Network) -> dict[tuple[str, ...], nnx.Variable]:
    """Every parameter and batch statistic of the model by its path, such as ("encoder", "0", "conv1", "kernel")."""
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    return {tuple(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def tensors(model: Network) -> dict[str, np.ndarray]:
    """Copies of every parameter and buffer: PyTorch names and axis order, dtype kept."""
    return to_pytorch(model.config.graph, {p: np.asarray(v[...]) for p, v in variables(model).items()})


def load_tensors(model: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces every parameter and buffer by a copy, dtype kept. Raises InputError unless they are the model's, or
    where they are float64 and JAX is not allowed to hold that."""
    if any(jax.dtypes.canonicalize_dtype(t.dtype) != t.dtype for t in tensors.values()):
        raise InputError("these weights are float64; call jax.config.update('jax_enable_x64', True) before loading")
    # jnp.array copies; jnp.asarray may share memory with NumPy and so with a PyTorch model (jax issue 37830).
    arrays = {path: jnp.array(t) for path, t in to_flax(model.config.graph, tensors).items()}
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    flat = [(path, v, arrays[tuple(map(str, path))]) for path, v in nnx.to_flat_state(state)]
    for path, v, array in flat:
        if v.shape != array.shape:  # a module that is not the one its config describes
            where = ".".join(map(str, path))
            raise InputError(
                f"{where} of the model has shape {v.shape}; its config and these weights say {array.shape}"
            )
    nnx.update(model, nnx.from_flat_state([(path, v.replace(array)) for path, v, array in flat]))
