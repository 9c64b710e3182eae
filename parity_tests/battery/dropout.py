"""The same random numbers for both twins and the reference.

PyTorch draws them; JAX receives them instead of its own random numbers, and the reference as tensors. No arithmetic is
replaced: each side masks and scales as usual. For DropBlock, the centres of the squares are passed on, and each side
computes its own squares from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch

from unet_spec import Graph, NetworkConfig
from unet_spec.families.probabilistic_unet import NOISE
from unet_spec.ops import DropBlock as DropBlockOp
from unet_torch.network import Network
from unet_torch.nn.spatial import DropBlock

from .layers import dropout_nodes, features_last

Draws = dict[str, np.ndarray]
"""Masks (N, *spatial, C; 1 = kept) by the names of their layers, the squares' centres of each DropBlock as
"<name>.centres" (1 = a square), and a latent variable's noise (N, latent)."""


@contextmanager
def torch_draws(model: Network, seed: int = 5) -> Iterator[Draws]:
    """Within the block, records the random numbers of a PyTorch model in training mode.

    A layer's mask is drawn first; then the generator is reset, and the layer draws the same mask again.
    """
    draws: Draws = {}
    last = features_last(model.config.graph)

    def look(path: str):
        def hook(module: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
            if not module.training:
                return
            state = torch.get_rng_state()
            if isinstance(module, DropBlock):
                _draw_centres(path, module.op, args[0], draws)
            else:
                drawn = (torch.nn.functional.dropout(torch.ones_like(args[0]), module.p, True) != 0).double().numpy()
                draws[path] = drawn if path in last else np.moveaxis(drawn, 1, -1)
            torch.set_rng_state(state)

        return hook

    def randn(*args: Any, **kwargs: Any) -> torch.Tensor:
        noise = original(*args, **kwargs)
        draws[NOISE] = noise.numpy()
        return noise

    original = torch.randn
    layers = [(path, m) for path, m in model.named_modules() if isinstance(m, torch.nn.Dropout | DropBlock)]
    handles = [m.register_forward_pre_hook(look(path)) for path, m in layers]
    with torch.random.fork_rng(devices=[]), mock.patch.object(torch, "randn", randn):
        torch.manual_seed(seed)
        try:
            yield draws
        finally:
            for handle in handles:
                handle.remove()


def _draw_centres(path: str, op: DropBlockOp, x: torch.Tensor, draws: Draws) -> None:
    """The centres that DropBlock draws for `x`, if any, and the mask that follows from them."""
    size = tuple(x.shape[2:])
    if not op.gamma(size):
        return
    centres = x.new_zeros(*x.shape[:2], *(n - op.block + 1 for n in size)).bernoulli_(op.gamma(size))
    draws[f"{path}.centres"] = np.moveaxis(centres.double().numpy(), 1, -1)
    draws[path] = squares(draws[f"{path}.centres"], op.block)


def squares(centres: np.ndarray, block: int) -> np.ndarray:
    """The mask (N, *spatial, C) with a square of zeros for every centre (N, *(spatial − block + 1), C)."""
    mask = np.ones((len(centres), *(n + block - 1 for n in centres.shape[1:-1]), centres.shape[-1]))
    for image, *low, channel in np.argwhere(centres):
        mask[(image, *(slice(i, i + block) for i in low), channel)] = 0
    return mask


def reference_masks(graph: Graph, draws: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The mask of every dropout layer for the reference. A layer that drew nothing kept all values; this is measured as
    a difference and is not an error."""
    return {name: draws.get(name, np.ones(1)) for name in dropout_nodes(graph)}


@contextmanager
def jax_draws(config: NetworkConfig, draws: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Within the block, JAX draws the same numbers, masks in the order of the graph. A layer that is not in the graph
    keeps all values, which is measured as a difference."""
    names = [name for name in dropout_nodes(config.graph) if name in draws]
    waiting = [draws.get(f"{name}.centres", draws[name]) for name in names]

    def bernoulli(key: object, p: float = 0.5, shape: tuple[int, ...] = (), **rest: object) -> jax.Array:
        mask = waiting.pop(0) if waiting else np.ones(shape)
        return jnp.asarray(mask if mask.shape == tuple(shape) else np.ones(shape), bool)

    def normal(key: object, shape: tuple[int, ...] = (), dtype: Any = float, **rest: object) -> jax.Array:
        return jnp.asarray(draws[NOISE].reshape(shape), dtype)

    with mock.patch.multiple(jax.random, bernoulli=bernoulli, normal=normal):
        yield
