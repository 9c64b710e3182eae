"""Layers that act on each position independently, in PyTorch. `unet_jax/nn/pointwise.py` is the same in Flax."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
}


class Activation(nn.Module):
    """One of ACTIVATIONS, elementwise. `slope`: slope of leaky_relu below zero."""

    def __init__(self, function: str, slope: float = 0.01):
        super().__init__()
        self.function, self.slope = function, slope

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        function = ACTIVATIONS[self.function]
        return function(x, self.slope) if self.function == "leaky_relu" else function(x)

    def extra_repr(self) -> str:
        return self.function


def channel_max(x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n 1 *spatial"]:
    """The maximum over the channels, as one channel. If several channels are equal, one receives the gradient."""
    return x.max(1, keepdim=True).values
