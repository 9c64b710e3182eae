"""Batch norm in Flax NNX. `unet_torch/nn/norm.py` has the norms that differ from PyTorch's."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from .cpu.reductions import broadcast_channels, channel_mean


class BatchNorm(nnx.BatchNorm):
    """Batch norm with PyTorch's arithmetic. It subclasses `nnx.BatchNorm`, so that code that searches for batch norms
    finds it.

    The running variance is unbiased (n − 1), and statistics have the parameters' dtype; in Flax it is biased, and they
    are float32. `momentum` is the share of the new batch; Flax's is that of the old statistics. With `use_scale` False,
    the norm has a bias only.
    """

    cpu_step = False  # see `unet_jax.nn.cpu`

    def __init__(self, features: int, eps: float, momentum: float, dtype: DTypeLike, use_scale: bool = True):
        self.eps, self.momentum = eps, momentum
        self.scale = nnx.Param(jnp.ones(features, dtype)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros(features, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(features, dtype))
        self.var = nnx.BatchStat(jnp.ones(features, dtype))
        self.use_running_average = False  # set by nnx.Module.train() and .eval()

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial c"]:
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            stats, count = x.astype(self.mean.dtype), math.prod(x.shape[:-1])
            mean = channel_mean(stats, self.cpu_step)
            centred = stats - broadcast_channels(mean, x, self.cpu_step)
            var = channel_mean(jnp.square(centred), self.cpu_step)
            keep, unbiased = 1 - self.momentum, count / max(count - 1, 1)
            self.mean[...] = keep * self.mean[...] + self.momentum * mean
            self.var[...] = keep * self.var[...] + self.momentum * var * unbiased
        factor = jax.lax.rsqrt(var + self.eps)
        if self.scale is not None:
            factor = factor * self.scale[...]
        assert self.bias is not None  # it may be None in nnx.BatchNorm
        mean, factor, bias = (broadcast_channels(v, x, self.cpu_step) for v in (mean, factor, self.bias[...]))
        y = (x - mean) * factor + bias
        return y.astype(x.dtype)
