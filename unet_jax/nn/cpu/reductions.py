"""Sums over all pixels of a channel, and their gradients, in two stages."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def broadcast_channels(
    values: Float[Array, " c"], like: Float[Array, "n *spatial c"], staged: bool
) -> Float[Array, "*rows c"]:
    """Broadcasts one value per channel, for addition to `like` or multiplication with it.

    Staged: the result is (N, …, 1, C), so that the gradient is summed over the last spatial axis first and then over
    the others. XLA's CPU code does this much faster than one sum over all axes.
    """
    if not staged:
        return values
    return jax.lax.optimization_barrier(jnp.broadcast_to(values, (*like.shape[:-2], 1, like.shape[-1])))


def channel_mean(x: Float[Array, "n *spatial c"], staged: bool) -> Float[Array, " c"]:
    """The mean of each channel. Staged: as in `broadcast_channels`."""
    if staged:
        x = jax.lax.optimization_barrier(x.mean(-2))
    return x.mean(tuple(range(x.ndim - 1)))
