"""Layers and functions other than convolutions that change the size of a map or combine its pixels, in Flax NNX.

`unet_torch/nn/spatial.py` is the same in PyTorch. Arrays are channels-last, (N, *spatial, C), with any number of
spatial axes. A window or factor is one number for all axes, or one number per axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Shaped

from unet_spec.ops import DropBlock as DropBlockOp
from unet_spec.ops import PositionEmbedding as PositionEmbeddingOp
from unet_spec.ops import Upsample as UpsampleOp

Sizes = int | tuple[int, ...]
"""One number for all spatial axes, or one number per axis."""


def per_axis(sizes: Sizes, dims: int) -> tuple[int, ...]:
    """One number per axis."""
    return (sizes,) * dims if isinstance(sizes, int) else sizes


def conv_axes(ndim: int) -> tuple[str, str, str]:
    """`dimension_numbers` of a convolution of arrays with `ndim` axes, channels last."""
    spatial = "DHW"[-(ndim - 2) :]
    return f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"


def max_pool(x: Float[Array, "n *spatial c"], window: Sequence[int]) -> Float[Array, "n *pooled c"]:
    """The maximum of each window; windows are adjacent and do not overlap. An incomplete last window is left out.

    As in torch.nn.MaxPool2d, the first of equal values receives the gradient, and NaN is the maximum. Computed by
    reshapes: on a CPU, XLA computes its general pooling and the gradient value by value.
    """
    if math.prod(window) > 8 and sum(w > 1 for w in window) > 1:
        # One axis after the other, the last first, selects the same value. With all axes at once, XLA compiles for
        # minutes.
        for axis in reversed(range(len(window))):
            x = max_pool(x, [w if i == axis else 1 for i, w in enumerate(window)])
        return x
    sizes = [size // w for size, w in zip(x.shape[1:-1], window, strict=True)]
    x = x[:, *(slice(n * w) for n, w in zip(sizes, window, strict=True))]
    parts = x.reshape(x.shape[0], *(n for pair in zip(sizes, window, strict=True) for n in pair), x.shape[-1])
    places = [parts[:, *(at for p in place for at in (slice(None), p))] for place in np.ndindex(*window)]
    found = places[0]
    for value in places[1:]:
        found = jnp.where((value > found) | jnp.isnan(value), value, found)
    return found


class MaxPool(nnx.Module):
    """Maximum over adjacent, non-overlapping windows."""

    def __init__(self, window: Sizes = 2):
        self.window = window

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *pooled c"]:
        return max_pool(x, per_axis(self.window, x.ndim - 2))


class AvgPool(nnx.Module):
    """Mean over adjacent, non-overlapping windows."""

    def __init__(self, window: Sizes = 2):
        self.window = window

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *pooled c"]:
        window = per_axis(self.window, x.ndim - 2)
        return nnx.avg_pool(x, window, window)


class WindowMaxPool(nnx.Module):
    """Maximum over windows that may overlap. With `ceil`, a last window that extends beyond the map counts too."""

    def __init__(self, window: int, stride: int, ceil: bool = False):
        self.window, self.stride, self.ceil = window, stride, ceil

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *pooled c"]:
        window, stride = (per_axis(n, x.ndim - 2) for n in (self.window, self.stride))
        over: Any = [(0, (self.window - n) % self.stride if self.ceil else 0) for n in x.shape[1:-1]]
        return nnx.max_pool(x, window, stride, over)


class GlobalAvgPool(nnx.Module):
    """Mean over the whole map, which becomes one pixel."""

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *one c"]:
        return x.mean(tuple(range(1, x.ndim - 1)), keepdims=True)


class Upsample(nnx.Module):
    """Linear interpolation to `scale` times the size: one constant matrix per axis.

    `jax.image.resize` does not support aligned corners; a matrix product does.
    """

    def __init__(self, scale: int = 2, align_corners: bool = True):
        self.op = UpsampleOp(scale, align_corners)

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *enlarged c"]:
        for axis in range(1, x.ndim - 1):
            matrix = jnp.asarray(self.op.matrix(x.shape[axis]), x.dtype)
            product = jnp.tensordot(matrix, x, (1, axis), precision=jax.lax.Precision.HIGHEST)
            x = jnp.moveaxis(product, 0, axis)
        return x


class NearestUpsample(nnx.Module):
    """Each pixel becomes a window of `scale` equal ones per axis."""

    def __init__(self, scale: int = 2):
        self.scale = scale

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *enlarged c"]:
        for axis in range(1, x.ndim - 1):
            x = jnp.repeat(x, self.scale, axis)
        return x


class DropBlock(nnx.Module):
    """In training, sets squares of pixels to 0, independently in each channel, and scales the rest; see
    `unet_spec.ops.DropBlock`.

    Takes its random numbers from the stream "dropout".
    """

    def __init__(self, keep: float, block: int):
        self.op = DropBlockOp(keep, block)
        self.deterministic = False  # set by nnx.Module.train() and .eval()

    def mask(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs) -> Float[Array, "n *spatial c"]:
        """0 in the dropped squares of `x`, 1 elsewhere."""
        size, block = x.shape[1:-1], self.op.block
        places = (x.shape[0], *(n - block + 1 for n in size), x.shape[-1])
        centres = jax.random.bernoulli(rngs.dropout(), self.op.gamma(size), places).astype(x.dtype)
        reach: Any = [(block - 1, block - 1)] * len(size)
        return 1 - nnx.max_pool(centres, (block,) * len(size), (1,) * len(size), reach)

    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *spatial c"]:
        if self.deterministic or not self.op.gamma(x.shape[1:-1]):
            return x
        if rngs is None:
            raise ValueError("DropBlock needs random numbers in training: give rngs with a stream 'dropout'")
        mask = self.mask(x, rngs)
        return x * mask * (mask.size / jnp.maximum(mask.sum(), 1))


class PositionEmbedding(nnx.Module):
    """Adds a trained vector to each pixel. If the map's size is not `grid`, the vectors are interpolated (aligned
    corners)."""

    def __init__(self, features: int, grid: tuple[int, ...], dtype: DTypeLike):
        self.op = PositionEmbeddingOp(features, grid)
        self.embedding = nnx.Param(jnp.zeros(self.op.parameters()["weight"].shape, dtype))

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *spatial c"]:
        vectors = self.embedding[...].reshape(*self.op.grid, -1)
        for axis, n in enumerate(x.shape[1:-1]):
            if n != self.op.grid[axis]:
                matrix = jnp.asarray(self.op.matrix(self.op.grid[axis], n), vectors.dtype)
                product = jnp.tensordot(matrix, vectors, (1, axis), precision=jax.lax.Precision.HIGHEST)
                vectors = jnp.moveaxis(product, 0, axis)
        return x + vectors


def center_crop(x: Shaped[Array, "n *spatial c"], like: Shaped[Array, "n *size k"]) -> Shaped[Array, "n *size c"]:
    """Crops the spatial axes of `x` to those of `like`, equally on both sides; if the sizes are equal, returns `x`."""
    for axis in range(1, x.ndim - 1):
        start = (x.shape[axis] - like.shape[axis]) // 2
        x = jax.lax.slice_in_dim(x, start, start + like.shape[axis], axis=axis)
    return x


def center_pad(x: Float[Array, "n *spatial c"], like: Float[Array, "n *size k"]) -> Float[Array, "n *size c"]:
    """Pads the spatial axes of `x` with zeros to the size of `like`, equally on both sides."""
    total = np.subtract(like.shape[1:-1], x.shape[1:-1])
    return jnp.pad(x, [(0, 0), *((int(t) // 2, int(t) - int(t) // 2) for t in total), (0, 0)])


def crop_like(
    x: Float[Array, "n *spatial c"], like: Float[Array, "n *size k"], offset: int
) -> Float[Array, "n *size c"]:
    """Crops the spatial axes of `x` to those of `like`, starting at `offset`."""
    for axis in range(1, x.ndim - 1):
        x = jax.lax.slice_in_dim(x, offset, offset + like.shape[axis], axis=axis)
    return x


def pad_end(x: Float[Array, "n *spatial c"]) -> Float[Array, "n *larger c"]:
    """Adds one zero at the high end of each spatial axis of `x`."""
    return jnp.pad(x, [(0, 0), *[(0, 1)] * (x.ndim - 2), (0, 0)])
