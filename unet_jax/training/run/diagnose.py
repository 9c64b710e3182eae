"""Finds the cause of a loss that is not finite: the batch, the first layer, or the gradient of a weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from unet_spec.weights.weight_map import entries

from ...network import Loss
from ..objective import make_objective, model_loss
from ..settings import TrainSettings


class NotFinite(NamedTuple):
    """The first values of a step that are not finite.

    Attributes:
        where: description of the values, for messages.
        weights_too_large: whether the weights before the step were the cause, so that another update would not help.
    """

    where: str
    weights_too_large: bool


def first_not_finite(
    graphdef: Any,
    settings: TrainSettings,
    params: Any,
    stats: Any,
    images: Array,
    labels: Array,
    weights: Array | None,
    key: Array,
    own: Loss | None = None,
) -> NotFinite:
    """Finds the first values that are not finite in the forward and the backward pass of this batch.

    Arguments as for `objective.make_objective`. Computed in the same parts (`accumulate`) as the step, the forward pass
    layer by layer, without jit.
    """
    if not np.isfinite(images).all():
        return NotFinite("the images themselves", weights_too_large=False)
    for path, value in nnx.to_flat_state(params):
        if not np.isfinite(value[...]).all():
            return NotFinite(f"the weights {'.'.join(map(str, path))}", weights_too_large=True)
    parts = settings.optimisation.accumulate
    gradient = jax.jit(jax.grad(make_objective(graphdef, settings, own=own), has_aux=True))
    for index in range(parts):
        batch = tuple(x if x is None else x[index::parts] for x in (images, labels, weights))
        batch += (jax.random.fold_in(key, index) if parts > 1 else key,)
        model = nnx.merge(graphdef, params, stats, copy=True)
        with _collect_not_finite(model) as bad:
            loss = model_loss(model, settings, own)(*batch)
        if bad:
            return NotFinite(f"the output of {bad[0]}", weights_too_large=True)
        if not np.isfinite(loss):
            return NotFinite(f"the loss ({settings.loss.loss}), after a finite forward pass", weights_too_large=True)
        grads, stats = gradient(params, stats, *batch)
        gradients = {tuple(map(str, path)): value[...] for path, value in nnx.to_flat_state(grads)}
        for entry in reversed(entries(model.config.graph)):  # the backward pass runs from the end of the graph
            if entry.flax in gradients and not np.isfinite(gradients[entry.flax]).all():
                return NotFinite(f"the gradient of {'.'.join(entry.flax)}", weights_too_large=False)
    return NotFinite("the weights after its update, though loss and gradient are finite", weights_too_large=False)


@contextmanager
def _collect_not_finite(model: nnx.Module) -> Iterator[list[str]]:
    """Within the block, collects the paths of the layers of `model` whose output was not finite, in the order of the
    calls.

    Layers are modules without submodules. Python looks up `__call__` in the class, so the method of the class is
    wrapped within the block.
    """
    paths = {id(node): ".".join(map(str, path)) for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}
    nodes = [node for _, node in nnx.iter_graph(model) if isinstance(node, nnx.Module) and callable(node)]
    layers = {type(n) for n in nodes if not any(isinstance(v, nnx.Module | nnx.List) for v in vars(n).values())}
    bad: list[str] = []
    originals: dict[Any, Any] = {cls: cls.__call__ for cls in layers}

    def wrapped(original: Callable) -> Callable:
        def call(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            y = original(self, *args, **kwargs)
            if id(self) in paths and not jnp.isfinite(y).all():
                bad.append(paths[id(self)])
            return y

        return call

    try:
        for cls, original in originals.items():
            cls.__call__ = wrapped(original)
        yield bad
    finally:
        for cls, original in originals.items():
            cls.__call__ = original
