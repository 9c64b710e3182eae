"""The parts of the network in Flax NNX. `unet_torch/blocks.py` is the same file in PyTorch: same names, same order.

Arrays are channels-last, (N, *spatial, C). Every module carries the name of a node of the graph (`unet_spec.unet`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from unet_jax.convolution import Conv, channel_mean, spread
from unet_jax.windows import UpConv, max_pool
from unet_spec import UNetConfig
from unet_spec.ops import Upsample as UpsampleOp

ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
    "elu": jax.nn.elu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
}


Call = TypeVar("Call", bound=Callable[..., Array])


def kept(call: Call) -> Call:
    """For the `__call__` of a block: rematerialisation (`unet_jax.objective`) keeps its output, and nothing inside it.
    It changes nothing else."""

    @wraps(call)
    def block(*args: Any, **kwargs: Any) -> Array:
        return checkpoint_name(call(*args, **kwargs), "block")

    return block  # type: ignore[return-value]


class Activation(nnx.Module):
    """One of ACTIVATIONS, value by value."""

    def __init__(self, function: str):
        self.function = function

    def __call__(self, x: Array) -> Array:
        return ACTIVATIONS[self.function](x)


class MaxPool(nnx.Module):
    """Maximum over windows of 2 per axis."""

    def __init__(self, dims: int):
        self.dims = dims

    def __call__(self, x: Array) -> Array:
        return max_pool(x, (2,) * self.dims)


class Upsample(nnx.Module):
    """Linear interpolation to twice the size: one constant matrix per axis.

    `jax.image.resize` does not know aligned corners; a matrix product does both kinds, and its gradient.
    """

    def __init__(self, dims: int, align_corners: bool):
        self.op = UpsampleOp(2, align_corners)

    def __call__(self, x: Array) -> Array:
        for axis in range(1, x.ndim - 1):
            matrix = jnp.asarray(self.op.matrix(x.shape[axis]), x.dtype)
            product = jnp.tensordot(matrix, x, (1, axis), precision=jax.lax.Precision.HIGHEST)
            x = jnp.moveaxis(product, 0, axis)
        return x


class BatchNorm(nnx.Module):
    """Batch norm with PyTorch's arithmetic.

    Flax's own keeps the biased variance and holds its statistics in float32; here the running variance is the unbiased
    one (n − 1) and statistics have the parameters' dtype. With `use_scale` False there is a bias only.
    """

    cpu_step = False  # see `unet_jax.convolution`

    def __init__(self, features: int, eps: float, momentum: float, dtype: DTypeLike, use_scale: bool = True):
        self.eps, self.momentum = eps, momentum
        self.scale = nnx.Param(jnp.ones(features, dtype)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros(features, dtype))
        self.mean = nnx.BatchStat(jnp.zeros(features, dtype))
        self.var = nnx.BatchStat(jnp.ones(features, dtype))
        self.use_running_average = False  # what nnx.Module.train() and .eval() set

    def __call__(self, x: Array) -> Array:
        if self.use_running_average:
            mean, var = self.mean[...], self.var[...]
        else:
            stats, count = x.astype(self.mean.dtype), math.prod(x.shape[:-1])
            mean = channel_mean(stats, self.cpu_step)
            centred = stats - spread(mean, x, self.cpu_step)
            var = channel_mean(jnp.square(centred), self.cpu_step)
            keep, unbiased = 1 - self.momentum, count / max(count - 1, 1)
            self.mean[...] = keep * self.mean[...] + self.momentum * mean
            self.var[...] = keep * self.var[...] + self.momentum * var * unbiased
        factor = jax.lax.rsqrt(var + self.eps)
        if self.scale is not None:
            factor = factor * self.scale[...]
        mean, factor, bias = (spread(v, x, self.cpu_step) for v in (mean, factor, self.bias[...]))
        y = (x - mean) * factor + bias
        return y.astype(x.dtype)


def conv(
    config: UNetConfig, channels_in: int, channels_out: int, kernel: int, bias: bool, rngs: nnx.Rngs, dtype: DTypeLike
) -> Conv:
    """A convolution with stride 1; "same" padding is (kernel − 1) / 2 zeros a side."""
    window, pad = (kernel,) * config.spatial_dims, (kernel - 1) // 2 if config.padding == "same" else 0
    padding = [(pad, pad)] * config.spatial_dims
    return Conv(
        channels_in,
        channels_out,
        window,
        padding=padding,
        use_bias=bias,
        kernel_init=nnx.initializers.zeros,
        param_dtype=dtype,
        rngs=rngs,
    )


def norm(config: UNetConfig, features: int, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.Module:
    """The normalisation that the config names."""
    match config.norm:
        case "batch":
            return BatchNorm(features, config.norm_eps, config.norm_momentum, dtype)
        case "group":
            return nnx.GroupNorm(
                features,
                config.norm_groups,
                epsilon=config.norm_eps,
                use_fast_variance=False,
                param_dtype=dtype,
                rngs=rngs,
            )
        case "instance":
            return nnx.InstanceNorm(
                features, epsilon=config.norm_eps, use_fast_variance=False, param_dtype=dtype, rngs=rngs
            )
    return Identity()


class Identity(nnx.Module):
    """Changes nothing."""

    def __call__(self, x: Array) -> Array:
        return x


def center_crop(x: Array, like: Array) -> Array:
    """Cuts the spatial axes of `x` (N, *spatial, C) to those of `like`, the same on both sides."""
    for axis in range(1, x.ndim - 1):
        margin = (x.shape[axis] - like.shape[axis]) // 2
        x = jax.lax.slice_in_dim(x, margin, margin + like.shape[axis], axis=axis)
    return x


def center_pad(x: Array, like: Array) -> Array:
    """Adds zeros around the spatial axes of `x` (N, *spatial, C) up to those of `like`, the same on both sides."""
    total = np.subtract(like.shape[1:-1], x.shape[1:-1])
    return jnp.pad(x, [(0, 0), *((int(t) // 2, int(t) - int(t) // 2) for t in total), (0, 0)])


class ConvBlock(nnx.Module):
    """Twice: 3x3 convolution, norm, activation. Then dropout, where there is any."""

    def __init__(
        self, config: UNetConfig, widths: tuple[int, int, int], dropout: float, rngs: nnx.Rngs, dtype: DTypeLike
    ):
        self.conv1 = conv(config, widths[0], widths[1], 3, config.conv_bias, rngs, dtype)
        self.norm1 = norm(config, widths[1], rngs, dtype)
        self.act1 = Activation(config.activation)
        self.conv2 = conv(config, widths[1], widths[2], 3, config.conv_bias, rngs, dtype)
        self.norm2 = norm(config, widths[2], rngs, dtype)
        self.act2 = Activation(config.activation)
        self.dropout = nnx.Dropout(dropout)

    @kept
    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.dropout(x, rngs=rngs)


class DownBlock(ConvBlock):
    """Half the size, then a block."""

    def __init__(
        self, config: UNetConfig, widths: tuple[int, int, int], dropout: float, rngs: nnx.Rngs, dtype: DTypeLike
    ):
        super().__init__(config, widths, dropout, rngs, dtype)
        self.pool = MaxPool(config.spatial_dims)

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        return super().__call__(self.pool(x), rngs)


class UpBlock(nnx.Module):
    """Twice the size, joined with the skip as [skip, upsampled], then a block."""

    def __init__(
        self, config: UNetConfig, channels_in: int, widths: tuple[int, int, int], rngs: nnx.Rngs, dtype: DTypeLike
    ):
        self.merge = config.merge
        if config.upsampling == "transposed":
            self.up = UpConv(channels_in, widths[0] // 2, (2,) * config.spatial_dims, rngs, dtype)
        else:
            self.up = Upsample(config.spatial_dims, config.align_corners)
        self.block = ConvBlock(config, widths, 0.0, rngs, dtype)

    def __call__(self, x: Array, skip: Array) -> Array:
        x = self.up(x)
        if self.merge == "crop":
            skip = center_crop(skip, like=x)
        else:
            x = center_pad(x, like=skip)
        return self.block(jnp.concatenate([skip, x], axis=-1))
