"""Reads and writes the weights of a Flax model, as NumPy arrays under the names of the spec, through the weight map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jax.typing import DTypeLike

from unet_spec import InputError, initial_tensors
from unet_spec.weights.weight_map import entries, to_flax, to_pytorch

if TYPE_CHECKING:
    from .network import Network


def variables(model: Network) -> dict[tuple[str, ...], nnx.Variable]:
    """Every parameter and batch statistic of the model by its path, such as ("encoder", "0", "conv1", "kernel")."""
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    return {tuple(map(str, path)): variable for path, variable in nnx.to_flat_state(state)}


def tensors(model: Network) -> dict[str, np.ndarray]:
    """Copies of every parameter and buffer, with PyTorch names and axis order and their own dtype.

    Args:
        model: any network.

    Example:
        >>> from unet_jax import UNet, preset, tensors
        >>> tensors(UNet(preset("paper", widths=(2, 4))))["encoder.0.conv1.weight"].shape  # O I H W
        (2, 1, 3, 3)
    """
    return to_pytorch(model.config.graph, {p: np.asarray(v[...]) for p, v in variables(model).items()})


def initialize(model: Network, seed: int, dtype: DTypeLike) -> None:
    """Fills the model with `unet_spec.initial_tensors`. The seed may be traced, so that `nnx.vmap` can make several
    networks at once."""
    graph = model.config.graph
    if not isinstance(seed, Tracer):
        load_tensors(model, initial_tensors(graph, seed, dtype))
        return
    lines = entries(graph)

    def draw(number: np.ndarray) -> list[np.ndarray]:
        flax = to_flax(graph, initial_tensors(graph, int(number), dtype))
        return [flax[e.flax] for e in lines]

    shapes = [jax.ShapeDtypeStruct(e.flax_shape, dtype) for e in lines]
    drawn = jax.pure_callback(draw, shapes, seed, vmap_method="sequential")
    arrays = {e.flax: array for e, array in zip(lines, drawn, strict=True)}
    flat = nnx.to_flat_state(nnx.state(model, (nnx.Param, nnx.BatchStat)))
    nnx.update(model, nnx.from_flat_state([(path, v.replace(arrays[tuple(map(str, path))])) for path, v in flat]))


def load_tensors(model: Network, tensors: Mapping[str, np.ndarray]) -> None:
    """Replaces every parameter and buffer by a copy of `tensors`, with their dtype.

    Args:
        model: any network.
        tensors: arrays in PyTorch's axis order, by PyTorch's names.

    Raises:
        InputError: names or shapes do not match the model, or tensors are float64 and `jax_enable_x64` is off.

    Example:
        >>> from unet_jax import UNet, load_tensors, preset, tensors
        >>> first, second = (UNet(preset("paper", widths=(2, 4)), seed) for seed in (0, 1))
        >>> load_tensors(second, tensors(first))
    """
    if any(jax.dtypes.canonicalize_dtype(t.dtype) != t.dtype for t in tensors.values()):
        raise InputError("these weights are float64; call jax.config.update('jax_enable_x64', True) before loading")
    # jnp.array copies; jnp.asarray may share memory with NumPy and so with a PyTorch model (jax issue 37830).
    arrays = {path: jnp.array(t) for path, t in to_flax(model.config.graph, tensors).items()}
    state = nnx.state(model, (nnx.Param, nnx.BatchStat))
    flat = [(path, v, arrays[tuple(map(str, path))]) for path, v in nnx.to_flat_state(state)]
    for path, v, array in flat:
        if v.shape != array.shape:  # the module does not match its config
            where = ".".join(map(str, path))
            raise InputError(
                f"{where} of the model has shape {v.shape}; its config and these weights say {array.shape}"
            )
    nnx.update(model, nnx.from_flat_state([(path, v.replace(array)) for path, v, array in flat]))
