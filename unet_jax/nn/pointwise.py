"""Layers that act on each position independently, in Flax NNX. `unet_torch/nn/pointwise.py` is the same in PyTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x, slope=0.01: jax.nn.leaky_relu(x, slope),
    "elu": jax.nn.elu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
}


class Activation(nnx.Module):
    """One of ACTIVATIONS, elementwise. `slope`: slope of leaky_relu below zero."""

    def __init__(self, function: str, slope: float = 0.01):
        self.function, self.slope = function, slope

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        function = ACTIVATIONS[self.function]
        return function(x, self.slope) if self.function == "leaky_relu" else function(x)


class PReLU(nnx.Module):
    """x where x ≥ 0, else negative_slope · x: one slope for all channels."""

    def __init__(self, dtype: DTypeLike):
        self.negative_slope = nnx.Param(jnp.full(1, 0.25, dtype))

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        return jnp.where(x >= 0, x, self.negative_slope[...] * x)


class Identity(nnx.Module):
    """Returns its input."""

    def __call__(self, x: Array) -> Array:
        return x


def channel_max(x: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial 1"]:
    """The maximum over the channels, as one channel. If several channels are equal, one receives the gradient.

    `x.max` divides its gradient among all values equal to the maximum. Under jit, its gradients were not always finite
    in training (jax 0.10.2 on a CPU); those of this function were. Our explanation, which is not proven: XLA computes
    `x` a second time with another rounding, finds no equal value and divides by 0.
    """
    return jnp.take_along_axis(x, jnp.argmax(x, axis=-1, keepdims=True), axis=-1)
