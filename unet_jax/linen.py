"""A network as Linen code expects it: `init` and `apply` over plain dictionaries of arrays, no state inside.

The module underneath is the NNX one, split and merged; names and axes are those of Linen (kernel H W I O, scale, bias,
mean, var), so that optimizers, masks and checkpoints written for Linen models take these variables as they are.
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

from unet_jax.weights import tensors as tensors_of
from unet_jax.zoo import create
from unet_spec import Checkpoint, InputError, NetworkConfig
from unet_spec.ops.variants import bilinear_kernel
from unet_spec.weight_map import entries, rearrange, to_flax, to_pytorch

Variables = dict[str, Any]
"""{"params": ..., "batch_stats": ...}: nested dictionaries by the parts of a name, such as encoder, 0, conv1, kernel.
Without "batch_stats" where the network has none."""

_COLLECTIONS = {"params": nnx.Param, "batch_stats": nnx.BatchStat}


def linen_view(config: NetworkConfig) -> LinenView:
    """The network that `config` describes, with `init` and `apply`."""
    return LinenView(config)


class LinenView:
    """`init` and `apply` of a network; both may be jitted, `apply` also differentiated and mapped.

    Attributes:
        config: the network.
    """

    def __init__(self, config: NetworkConfig):
        self.config = config
        model = nnx.eval_shape(lambda: create(config, None))
        self._graphs: dict[bool, Any] = {}
        for train in (True, False):
            model.train() if train else model.eval()
            self._graphs[train], self._state = nnx.split(model)

    def init(self, rngs: Any, x: Any = None, *, dtype: DTypeLike = jnp.float32, **_: Any) -> Variables:
        """New variables: the paper's initialisation, as `unet_spec.initial_tensors` draws it, with JAX's numbers.

        rngs: a key, or {"params": key, ...}. x and other arguments are there for Linen's sake; no shape follows from
        them.
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
        x: Array,
        *args: Any,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
        mutable: bool | str | Sequence[str] = False,
        **kwargs: Any,
    ) -> Any:
        """The logits (N, *spatial, K) of images (N, *spatial, C); with `mutable`, also what changed, as Linen has it.

        Args:
            variables: as from `init`.
            x: of a size on the network's grid; further arguments go to the network.
            train: batch norms take the batch's statistics, and dropout is on.
            rngs: {"dropout": key}; needed where there is dropout and `train`.
            mutable: ["batch_stats"], or True, gives (logits, {"batch_stats": new}); without, (logits).

        Raises InputError: variables of another network, a size that does not fit, training a network with batch norms
        whose statistics are not mutable.
        """
        asked = (
            [mutable] if isinstance(mutable, str) else list(_COLLECTIONS) if mutable is True else list(mutable or ())
        )
        has_stats = any(isinstance(v, nnx.BatchStat) for _, v in nnx.to_flat_state(self._state))
        if train and has_stats and "batch_stats" not in asked:
            raise InputError("training updates the batch statistics: call apply(..., mutable=['batch_stats'])")
        model = nnx.merge(self._graphs[train], self._bound(variables))
        streams = None if rngs is None else nnx.Rngs(**dict(rngs))
        logits = model(x, streams, *args, **kwargs)
        if not mutable:
            return logits
        new = nnx.to_flat_state(nnx.state(model, nnx.BatchStat))
        stats = self._variables({tuple(map(str, path)): variable[...] for path, variable in new})
        return logits, {name: tree for name, tree in stats.items() if name in asked}

    def from_checkpoint(self, checkpoint: Checkpoint) -> Variables:
        """The variables of a loaded checkpoint. Raises InputError where it is of another network."""
        flax = to_flax(self.config.graph, checkpoint.tensors)
        return self._variables({path: jnp.array(array) for path, array in flax.items()})

    def to_checkpoint(self, variables: Mapping[str, Any]) -> Checkpoint:
        """A checkpoint with these variables, to be saved. Raises InputError where they are not the network's."""
        found = {path: np.asarray(array) for tree in variables.values() for path, array in _leaves(tree)}
        return Checkpoint(self.config, to_pytorch(self.config.graph, found))

    def _bound(self, variables: Mapping[str, Any]) -> Any:
        """The module's state with the values of `variables`."""
        found = {(name, *path): array for name in _COLLECTIONS for path, array in _leaves(variables.get(name, {}))}
        state = []
        for path, variable in nnx.to_flat_state(self._state):
            key = (_collection(variable), *map(str, path))
            value = found.pop(key, None)
            if value is None or value.shape != variable.shape:
                told = "missing" if value is None else f"of shape {value.shape}, not {variable.shape}"
                raise InputError(f"these variables are not this network's: {'.'.join(key)} is {told}")
            state.append((path, variable.replace(value)))
        if found:
            raise InputError(f"these variables are not this network's: {'.'.join(next(iter(found)))} is not in it")
        return nnx.from_flat_state(state)

    def _variables(self, values: Mapping[tuple[str, ...], Any]) -> Variables:
        home = {tuple(map(str, path)): _collection(v) for path, v in nnx.to_flat_state(self._state)}
        result: Variables = {}
        for path, value in values.items():
            node = result.setdefault(home[path], {})
            for part in path[:-1]:
                node = node.setdefault(part, {})
            node[path[-1]] = value
        return result


def variables_of(model: Any) -> Variables:
    """The variables of an NNX network: copies, as `LinenView.apply` takes them."""
    return LinenView(model.config).from_checkpoint(Checkpoint(model.config, tensors_of(model)))


def _collection(variable: Any) -> str:
    return next(name for name, kind in _COLLECTIONS.items() if isinstance(variable, kind))


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(tree, Mapping):
        yield path, tree
        return
    for name, part in tree.items():
        yield from _leaves(part, (*path, str(name)))
