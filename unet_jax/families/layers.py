"""Layers of the families in Flax NNX. `unet_torch/families/layers.py` is the same file in PyTorch.

Arrays are channels-last, (N, *spatial, C). What the U-Net has too (activation, pooling, interpolation, batch norm)
comes from `unet_jax.blocks`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import BatchNorm
from unet_jax.convolution import Conv, conv_axes
from unet_jax.windows import UpConv
from unet_spec.ops import DropBlock as DropBlockOp
from unet_spec.ops import PositionEmbedding as PositionEmbeddingOp


class Layers:
    """Makes the layers of one network, which agree in number of axes, dtype and batch norm."""

    def __init__(self, dims: int, dtype: DTypeLike, eps: float = 1e-5, momentum: float = 0.1, valid: bool = False):
        self.dims, self.dtype, self.eps, self.momentum, self.valid = dims, dtype, eps, momentum, valid
        self.rngs = nnx.Rngs(0)  # the layers ask for one; no number is drawn from it

    def conv(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, pad: int | None = None, bias=True
    ) -> Conv:
        """A convolution; `pad` zeros a side: (kernel − 1) / 2 or, in a valid network, none, unless given."""
        return self._conv(Conv, channels_in, channels_out, kernel, stride, pad, bias)

    def std_conv(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> StdConv:
        """A weight-standardised convolution without bias, padded by (kernel − 1) / 2 zeros a side."""
        return self._conv(StdConv, channels_in, channels_out, kernel, stride, None, False)

    def _conv(self, cls, channels_in, channels_out, kernel, stride, pad, bias):
        if pad is None:
            pad = 0 if self.valid else (kernel - 1) // 2
        return cls(
            channels_in,
            channels_out,
            (kernel,) * self.dims,
            (stride,) * self.dims,
            padding=[(pad, pad)] * self.dims,
            use_bias=bias,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )

    def up_conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 2,
        stride: int = 2,
        cut: tuple[int, int] = (0, 0),
        bias: bool = True,
    ) -> nnx.ConvTranspose:
        """A transposed convolution; `cut` pixels are left out at the low and at the high end."""
        if kernel == stride and cut == (0, 0):
            return UpConv(channels_in, channels_out, (kernel,) * self.dims, self.rngs, self.dtype, bias)
        return nnx.ConvTranspose(
            channels_in,
            channels_out,
            (kernel,) * self.dims,
            (stride,) * self.dims,
            padding=[(kernel - 1 - cut[0], kernel - 1 - cut[1])] * self.dims,
            use_bias=bias,
            transpose_kernel=True,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )

    def batch_norm(self, features: int) -> BatchNorm:
        return BatchNorm(features, self.eps, self.momentum, self.dtype)

    def shift_norm(self, features: int) -> BatchNorm:
        """A batch norm without a scale."""
        return BatchNorm(features, self.eps, self.momentum, self.dtype, use_scale=False)

    def group_norm(self, features: int, groups: int, eps: float) -> nnx.GroupNorm:
        return nnx.GroupNorm(
            features, groups, epsilon=eps, use_fast_variance=False, param_dtype=self.dtype, rngs=self.rngs
        )

    def instance_norm(self, features: int) -> nnx.InstanceNorm:
        """Without scale and shift."""
        return nnx.InstanceNorm(
            features, epsilon=self.eps, use_fast_variance=False, use_scale=False, use_bias=False, rngs=self.rngs
        )

    def layer_norm(self, features: int, eps: float) -> nnx.LayerNorm:
        return nnx.LayerNorm(features, epsilon=eps, use_fast_variance=False, param_dtype=self.dtype, rngs=self.rngs)

    def linear(self, features_in: int, features_out: int) -> nnx.Linear:
        return nnx.Linear(
            features_in,
            features_out,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )

    def prelu(self) -> PReLU:
        return PReLU(self.dtype)


class Fixed(nnx.BatchStat):
    """A tensor of the checkpoint that no optimizer changes; it is kept with the running statistics."""


class StdConv(nnx.Conv):
    """A convolution whose kernel is standardised per output channel before use, with 1e-5 added to the variance."""

    def __call__(self, x: Array) -> Array:
        kernel = self.kernel[...]
        axes = tuple(range(kernel.ndim - 1))
        centred = kernel - kernel.mean(axes, keepdims=True)
        kernel = centred * jax.lax.rsqrt(jnp.square(centred).mean(axes, keepdims=True) + 1e-5)
        axes, dtype = conv_axes(x.ndim), jnp.promote_types(x.dtype, kernel.dtype)  # as nnx.Conv has it
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        return jax.lax.conv_general_dilated(x, kernel, self.strides, self.padding, dimension_numbers=axes)  # type: ignore[arg-type]


class PReLU(nnx.Module):
    """x where x ≥ 0, else negative_slope · x: one slope for all channels."""

    def __init__(self, dtype: DTypeLike):
        self.negative_slope = nnx.Param(jnp.full(1, 0.25, dtype))

    def __call__(self, x: Array) -> Array:
        return jnp.where(x >= 0, x, self.negative_slope[...] * x)


class Sigmoid(nnx.Module):
    """1 / (1 + exp(−x))."""

    def __call__(self, x: Array) -> Array:
        return jax.nn.sigmoid(x)


class AvgPool(nnx.Module):
    """Mean over windows of 2 per axis."""

    def __init__(self, dims: int):
        self.dims = dims

    def __call__(self, x: Array) -> Array:
        return nnx.avg_pool(x, (2,) * self.dims, strides=(2,) * self.dims)


class WindowMaxPool(nnx.Module):
    """Maximum over windows that may overlap; with `ceil`, a last one that overhangs the map counts too."""

    def __init__(self, dims: int, window: int, stride: int, ceil: bool = False):
        self.dims, self.window, self.stride, self.ceil = dims, window, stride, ceil

    def __call__(self, x: Array) -> Array:
        over = [(0, (self.window - n) % self.stride if self.ceil else 0) for n in x.shape[1:-1]]
        return nnx.max_pool(x, (self.window,) * self.dims, (self.stride,) * self.dims, over)  # type: ignore[arg-type]


class GlobalAvgPool(nnx.Module):
    """Mean over the whole map, which becomes one pixel."""

    def __call__(self, x: Array) -> Array:
        return x.mean(tuple(range(1, x.ndim - 1)), keepdims=True)


class NearestUpsample(nnx.Module):
    """Each pixel becomes a window of `scale` equal ones per axis."""

    def __init__(self, scale: int):
        self.scale = scale

    def __call__(self, x: Array) -> Array:
        for axis in range(1, x.ndim - 1):
            x = jnp.repeat(x, self.scale, axis)
        return x


class DropBlock(nnx.Module):
    """In training, zeroes squares of pixels, each channel by itself, and scales the rest; see
    `unet_spec.ops.DropBlock`.

    Takes its random numbers from the stream "dropout".
    """

    def __init__(self, keep: float, block: int):
        self.op = DropBlockOp(keep, block)
        self.deterministic = False  # what nnx.Module.train() and .eval() set

    def mask(self, x: Array, rngs: nnx.Rngs) -> Array:
        """1 where a value of `x` is kept, 0 in the squares."""
        size, block = x.shape[1:-1], self.op.block
        places = (x.shape[0], *(n - block + 1 for n in size), x.shape[-1])
        centres = jax.random.bernoulli(rngs.dropout(), self.op.gamma(size), places).astype(x.dtype)
        reach = [(block - 1, block - 1)] * len(size)
        return 1 - nnx.max_pool(centres, (block,) * len(size), (1,) * len(size), reach)  # type: ignore[arg-type]

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        if self.deterministic or not self.op.gamma(x.shape[1:-1]):
            return x
        if rngs is None:
            raise ValueError("DropBlock needs random numbers in training: give rngs with a stream 'dropout'")
        mask = self.mask(x, rngs)
        return x * mask * (mask.size / jnp.maximum(mask.sum(), 1))


class PositionEmbedding(nnx.Module):
    """Adds a trained vector to each pixel, interpolated (aligned corners) where the map has another size than
    `grid`."""

    def __init__(self, features: int, grid: tuple[int, ...], dtype: DTypeLike):
        self.op = PositionEmbeddingOp(features, grid)
        self.embedding = nnx.Param(jnp.zeros(self.op.parameters()["weight"].shape, dtype))

    def __call__(self, x: Array) -> Array:
        vectors = self.embedding[...].reshape(*self.op.grid, -1)
        for axis, n in enumerate(x.shape[1:-1]):
            if n != self.op.grid[axis]:
                matrix = jnp.asarray(self.op.matrix(self.op.grid[axis], n), vectors.dtype)
                product = jnp.tensordot(matrix, vectors, (1, axis), precision=jax.lax.Precision.HIGHEST)
                vectors = jnp.moveaxis(product, 0, axis)
        return x + vectors


def channel_max(x: Array) -> Array:
    """The maximum over the channels of `x` (N, *spatial, C), one channel; its gradient goes to one of the equal ones.

    The gradient of `x.max` is shared by all values equal to the maximum. Training with it gave gradients that were not
    finite under jit (jax 0.10.2 on a CPU), and this does not; that XLA computes `x` a second time with another
    rounding, finds none equal and divides by 0, is our explanation, not proven.
    """
    return jnp.take_along_axis(x, jnp.argmax(x, axis=-1, keepdims=True), axis=-1)


def center_crop(x: Array, like: Array) -> Array:
    """Cuts `x` (N, *spatial, C) on both sides to the size of `like`; where they are alike, it is `x`."""
    for axis in range(1, x.ndim - 1):
        start = (x.shape[axis] - like.shape[axis]) // 2
        x = jax.lax.slice_in_dim(x, start, start + like.shape[axis], axis=axis)
    return x


def crop_like(x: Array, like: Array, offset: int) -> Array:
    """Cuts the spatial axes of `x` (N, *spatial, C) to those of `like`, beginning at `offset`."""
    for axis in range(1, x.ndim - 1):
        x = jax.lax.slice_in_dim(x, offset, offset + like.shape[axis], axis=axis)
    return x


def pad_end(x: Array) -> Array:
    """Adds one zero at the high end of each spatial axis of `x` (N, *spatial, C)."""
    return jnp.pad(x, [(0, 0), *[(0, 1)] * (x.ndim - 2), (0, 0)])
