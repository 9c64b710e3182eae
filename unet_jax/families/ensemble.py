"""An ensemble in Flax NNX. `unet_torch/families/ensemble.py` is the same in PyTorch.

For the figure, see `unet_spec/families/ensemble.py`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unet_spec.families.ensemble import EnsembleConfig

from ..network import Network
from ..nn.convolution import Fixed
from ..registry import create, register
from ..shapes import Image, Logits


class ScaleShift(nnx.Module):
    """scale · x + bias per channel, which no optimizer changes."""

    def __init__(self, features: int, dtype: DTypeLike):
        self.scale, self.bias = Fixed(jnp.ones(features, dtype)), Fixed(jnp.zeros(features, dtype))

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial c"]:
        y = x * self.scale[...] + self.bias[...]
        return y.astype(x.dtype) if x.dtype.itemsize == 2 else y  # mixed precision: the next layers compute in 16 bits


class MeanProbability(nnx.Module):
    """Averages the probabilities (softmax or sigmoid) of several logits and returns the logits of the mean."""

    def __init__(self, sigmoid: bool):
        self.sigmoid = sigmoid

    def __call__(self, *logits: Float[Array, "n *spatial k"]) -> Float[Array, "n *spatial k"]:
        if not self.sigmoid:
            logs = jnp.stack([jax.nn.log_softmax(x, axis=-1) for x in logits])
            return jax.nn.logsumexp(logs, axis=0) - math.log(len(logits))
        x = jnp.stack(logits)
        inside, outside = jax.nn.log_sigmoid(x), jax.nn.log_sigmoid(-x)
        return jax.nn.logsumexp(inside, axis=0) - jax.nn.logsumexp(outside, axis=0)


@register(EnsembleConfig)
class Ensemble(Network):
    """The mean of several networks' probabilities (Lakshminarayanan et al. 2017). Arguments as for `UNet`."""

    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        count = range(config.members)
        self.scales = nnx.List([ScaleShift(config.in_channels, dtype) for _ in count])
        self.members = nnx.List([create(config.member, None, dtype=dtype) for _ in count])
        self.mean = MeanProbability(config.overlapping or config.out_channels == 1)
        self.head = ScaleShift(config.out_channels, dtype)
        self.initialize(seed, dtype)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits (N, *out, out_channels) of an image (N, *spatial, in_channels): their softmax or sigmoid is the
        mean of the members' probabilities."""
        self.check(image)
        pairs = zip(self.scales, self.members, strict=True)
        return self.head(self.mean(*(member(scale(image), rngs) for scale, member in pairs)))
