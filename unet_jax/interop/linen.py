"""Linen's interface to a network: `init` and `apply` over plain dictionaries of arrays, without state.

It splits and merges the NNX module. Names and axes are those of Linen (kernel H W I O, scale, bias, mean, var), so that
optimizers, masks and checkpoints written for Linen models accept these variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_spec import Checkpoint, InputError, NetworkConfig
from unet_spec.ops.variants import bilinear_kernel
from unet_spec.weights.weight_map import entries, rearrange, to_flax, to_pytorch

from ..registry import create
from ..shapes import Image
from ..weights import tensors as tensors_of

Variables = dict[str, Any]
"""{"params": ..., "batch_stats": ...}: nested dictionaries by the parts of a name, such as encoder, 0, conv1, kernel.
"batch_stats" is absent if the network has none."""

_COLLECTIONS = {"params": nnx.Param, "batch_stats": nnx.BatchStat}


def linen_view(config: NetworkConfig) -> LinenView:
    """The network of a config, with Linen's `init` and `apply`.

    Args:
        config: config of any architecture.

    Example:
        >>> import jax
        >>> from unet_jax import linen_view, preset
        >>> view = linen_view(preset("paper", widths=(2, 4)))
        >>> variables = view.init(jax.random.key(0))
        >>> view.apply(variables, jax.numpy.zeros((1, 28, 28, 1))).shape
        (1, 12, 12, 2)
    """
    return LinenView(config)


class LinenView:
    """`init` and `apply` of a network, see `linen_view`; both may be jitted, `apply` also differentiated and mapped.

    Attributes:
        config: the network.

    Example:
        >>> import jax
        >>> from unet_jax import LinenView, preset
        >>> view = LinenView(preset("paper", widths=(2, 4), norm="batch", dropout=0.0))
        >>> image, variables = jax.numpy.zeros((1, 28, 28, 1)), view.init(jax.random.key(0))
        >>> logits, new = view.apply(variables, image, train=True, mutable=["batch_stats"])
        >>> logits.shape, list(new)
        ((1, 12, 12, 2), ['batch_stats'])
    """

    def __init__(self, config: NetworkConfig):
        self.config = config
        model = nnx.eval_shape(lambda: create(config, None))
        self._graphs: dict[bool, Any] = {}
        for train in (True, False):
            model.train() if train else model.eval()
            self._graphs[train], self._state = nnx.split(model)

    def init(self, rngs: Any, x: Any = None, *, dtype: DTypeLike = jnp.float32, **_: Any) -> Variables:
        """New variables, drawn from the same distributions as `unet_spec.initial_tensors` by JAX's generator.

        Args:
            rngs: a random key, or {"params": key, ...}.
            x: ignored, like all further arguments; accepted because Linen modules take an input here.
            dtype: dtype of the variables.
        """
        key = rngs["params"] if isinstance(rngs, Mapping) else rngs
        values: dict[tuple[str, ...], Array] = {}
        specs = self.config.graph.params
        for number, entry in enumerate(entries(self.config.graph)):
            param, shape = specs[entry.pytorch], entry.flax_shape
            if param.start == "bilinear":
                kernel = bilinear_kernel(param.shape[0], param.shape[2:])
                values[entry.flax] = jnp.asarray(rearrange(kernel, entry.pytorch_axes, entry.flax_axes), dtype)
            elif param.std:
                values[entry.flax] = param.std * jax.random.normal(jax.random.fold_in(key, number), shape, dtype)
            else:
                values[entry.flax] = jnp.full(shape, param.constant, dtype)
        return self._variables(values)

    def apply(
        self,
        variables: Mapping[str, Any],
        x: Image,
        *args: Any,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
        mutable: bool | str | Sequence[str] = False,
        **kwargs: Any,
    ) -> Any:
        """The logits of images.

        Args:
            variables: variables from `init`.
            x: images (N, *spatial, C), of a size on the network's grid.
            *args: further arguments of the network.
            train: normalise with the batch's statistics, and apply dropout.
            rngs: {"dropout": key}; needed to train a network with dropout.
            mutable: ["batch_stats"] or True also returns the new statistics.
            **kwargs: further arguments of the network.

        Returns:
            logits (N, *spatial, K); with `mutable`, (logits, {"batch_stats": new statistics}).

        Raises:
            InputError: the variables are those of another network, the size does not fit, or `train` is set for a
                network with batch norms but "batch_stats" is not mutable.
        """
        collections = (
            [mutable] if isinstance(mutable, str) else list(_COLLECTIONS) if mutable is True else list(mutable or ())
        )
        has_stats = any(isinstance(v, nnx.BatchStat) for _, v in nnx.to_flat_state(self._state))
        if train and has_stats and "batch_stats" not in collections:
            raise InputError("training updates the batch statistics: call apply(..., mutable=['batch_stats'])")
        model = nnx.merge(self._graphs[train], self._bound(variables))
        streams = None if rngs is None else nnx.Rngs(**dict(rngs))
        logits = model(x, streams, *args, **kwargs)
        if not mutable:
            return logits
        new = nnx.to_flat_state(nnx.state(model, nnx.BatchStat))
        stats = self._variables({tuple(map(str, path)): variable[...] for path, variable in new})
        return logits, {name: tree for name, tree in stats.items() if name in collections}

    def from_checkpoint(self, checkpoint: Checkpoint) -> Variables:
        """The variables of a loaded checkpoint. Raises InputError if it belongs to another network."""
        flax = to_flax(self.config.graph, checkpoint.tensors)
        return self._variables({path: jnp.array(array) for path, array in flax.items()})

    def to_checkpoint(self, variables: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint with these variables, for saving. Raises InputError if they do not match the network."""
        arrays = {path: np.asarray(array) for tree in variables.values() for path, array in _leaves(tree)}
        return Checkpoint(self.config, to_pytorch(self.config.graph, arrays))

    def _bound(self, variables: Mapping[str, Any]) -> Any:
        """The module's state with the values of `variables`."""
        arrays = {(name, *path): array for name in _COLLECTIONS for path, array in _leaves(variables.get(name, {}))}
        state = []
        for path, variable in nnx.to_flat_state(self._state):
            key = (_collection(variable), *map(str, path))
            value = arrays.pop(key, None)
            if value is None or value.shape != variable.shape:
                problem = "missing" if value is None else f"of shape {value.shape}, not {variable.shape}"
                raise InputError(f"these variables do not match the network: {'.'.join(key)} is {problem}")
            state.append((path, variable.replace(value)))
        if arrays:
            raise InputError(f"these variables do not match the network: it has no {'.'.join(next(iter(arrays)))}")
        return nnx.from_flat_state(state)

    def _variables(self, values: Mapping[tuple[str, ...], Any]) -> Variables:
        collections = {tuple(map(str, path)): _collection(v) for path, v in nnx.to_flat_state(self._state)}
        result: Variables = {}
        for path, value in values.items():
            node = result.setdefault(collections[path], {})
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = value
        return result


def variables_of(model: Any) -> Variables:
    """Copies of the variables of an NNX network, for `LinenView.apply`."""
    return LinenView(model.config).from_checkpoint(Checkpoint(model.config, tensors_of(model)))


def _collection(variable: Any) -> str:
    return next(name for name, kind in _COLLECTIONS.items() if isinstance(variable, kind))


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for name, part in tree.items():
        yield from _leaves(part, (*path, str(name)))
