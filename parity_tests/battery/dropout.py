"""One dropout mask for both twins and the reference.

PyTorch draws it, unobserved by the network; Flax's dropout layers are given it in place of their own random numbers;
the reference takes it as a tensor. No arithmetic is replaced: each side masks and scales as it always does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import torch
from flax.nnx.nn import stochastic

from unet_spec import Graph


def dropout_nodes(graph: Graph) -> list[str]:
    return [node.name for node in graph if node.op.kind == "dropout"]


@contextmanager
def torch_masks(model: torch.nn.Module, seed: int = 5) -> Iterator[dict[str, np.ndarray]]:
    """Within the block, the masks (N, *spatial, C; 1 = kept) that the model's dropout layers draw, by their names.

    A layer is first asked for its output on ones, then the generator is put back, and the layer draws the same again.
    """
    masks: dict[str, np.ndarray] = {}

    def look(path: str):
        def hook(module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
            if not module.training:
                return
            state = torch.get_rng_state()
            drawn = torch.nn.functional.dropout(torch.ones_like(args[0]), module.p, True)
            torch.set_rng_state(state)
            masks[path] = np.moveaxis((drawn != 0).double().numpy(), 1, -1)

        return hook

    layers = [(path, m) for path, m in model.named_modules() if isinstance(m, torch.nn.Dropout)]
    handles = [m.register_forward_pre_hook(look(path)) for path, m in layers]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            yield masks
        finally:
            for handle in handles:
                handle.remove()


@contextmanager
def flax_masks(graph: Graph, masks: Mapping[str, np.ndarray]) -> Iterator[list[float]]:
    """Within the block, Flax's dropout layers draw `masks`, in the order of the graph. Yields the probabilities of
    keeping a value that they ask for. A layer that the graph does not know keeps all: a difference, and no crash."""
    waiting, asked = [masks[name] for name in dropout_nodes(graph) if name in masks], []

    def bernoulli(key: object, p: float = 0.5, shape: tuple[int, ...] = (), **rest: object):
        asked.append(p)
        mask = waiting.pop(0) if waiting else np.ones(shape)
        return jnp.asarray(mask if mask.shape == tuple(shape) else np.ones(shape), bool)

    original = stochastic.random
    stochastic.random = SimpleNamespace(bernoulli=bernoulli)
    try:
        yield asked
    finally:
        stochastic.random = original
