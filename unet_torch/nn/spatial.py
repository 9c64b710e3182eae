"""Layers and functions other than convolutions that change the size of a map or combine its pixels, in PyTorch.

`unet_jax/nn/spatial.py` is the same in Flax. Tensors are channels-first, (N, C, *spatial), with two or three spatial
axes. A window or factor is one number for all axes, or one number per axis.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.ops import DropBlock as DropBlockOp
from unet_spec.ops import PositionEmbedding as PositionEmbeddingOp

Sizes = int | tuple[int, ...]
"""One number for all spatial axes, or one number per axis."""


def per_axis(sizes: Sizes, dims: int) -> tuple[int, ...]:
    """One number per axis."""
    return (sizes,) * dims if isinstance(sizes, int) else sizes


class MaxPool(nn.Module):
    """Maximum over adjacent, non-overlapping windows."""

    def __init__(self, window: Sizes = 2):
        super().__init__()
        self.window = window

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *pooled"]:
        return F.max_pool2d(x, self.window) if x.dim() == 4 else F.max_pool3d(x, self.window)


class AvgPool(nn.Module):
    """Mean over adjacent, non-overlapping windows."""

    def __init__(self, window: Sizes = 2):
        super().__init__()
        self.window = window

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *pooled"]:
        return F.avg_pool2d(x, self.window) if x.dim() == 4 else F.avg_pool3d(x, self.window)


class WindowMaxPool(nn.Module):
    """Maximum over windows that may overlap. With `ceil`, a last window that extends beyond the map counts too."""

    def __init__(self, window: int, stride: int, ceil: bool = False):
        super().__init__()
        self.window, self.stride, self.ceil = window, stride, ceil

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *pooled"]:
        pool = F.max_pool2d if x.dim() == 4 else F.max_pool3d
        return pool(x, self.window, self.stride, ceil_mode=self.ceil)


class GlobalAvgPool(nn.Module):
    """Mean over the whole map, which becomes one pixel."""

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *one"]:
        return x.mean(tuple(range(2, x.dim())), keepdim=True)


class Upsample(nn.Module):
    """Linear interpolation to `scale` times the size."""

    def __init__(self, scale: int = 2, align_corners: bool = True):
        super().__init__()
        self.scale, self.align_corners = scale, align_corners

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *enlarged"]:
        mode = "bilinear" if x.dim() == 4 else "trilinear"
        return F.interpolate(x, scale_factor=self.scale, mode=mode, align_corners=self.align_corners)


class NearestUpsample(nn.Module):
    """Each pixel becomes a window of `scale` equal ones per axis."""

    def __init__(self, scale: int = 2):
        super().__init__()
        self.scale = scale

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *enlarged"]:
        return F.interpolate(x, scale_factor=self.scale, mode="nearest")


class DropBlock(nn.Module):
    """In training, sets squares of pixels to 0, independently in each channel, and scales the rest; see
    `unet_spec.ops.DropBlock`."""

    def __init__(self, keep: float, block: int):
        super().__init__()
        self.op = DropBlockOp(keep, block)

    def mask(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        """0 in the dropped squares of `x`, 1 elsewhere."""
        size, block = tuple(x.shape[2:]), self.op.block
        centres = x.new_zeros(*x.shape[:2], *(n - block + 1 for n in size)).bernoulli_(self.op.gamma(size))
        centres = F.pad(centres, [block - 1] * 2 * len(size))
        pool = F.max_pool2d if len(size) == 2 else F.max_pool3d
        return 1 - pool(centres, block, 1)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        if not self.training or not self.op.gamma(tuple(x.shape[2:])):
            return x
        mask = self.mask(x)
        return x * mask * (mask.numel() / mask.sum().clamp(min=1))


class PositionEmbedding(nn.Module):
    """Adds a trained vector to each pixel. If the map's size is not `grid`, the vectors are interpolated (aligned
    corners)."""

    def __init__(self, features: int, grid: tuple[int, ...]):
        super().__init__()
        self.op = PositionEmbeddingOp(features, grid)
        self.weight = nn.Parameter(torch.zeros(self.op.parameters()["weight"].shape))

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        vectors = self.weight.transpose(1, 2).reshape(1, -1, *self.op.grid)
        if x.shape[2:] != self.op.grid:
            vectors = F.interpolate(vectors, tuple(x.shape[2:]), mode="bilinear", align_corners=True)
        return x + vectors


def center_crop(x: Shaped[Tensor, "n c *spatial"], like: Shaped[Tensor, "n k *size"]) -> Shaped[Tensor, "n c *size"]:
    """Crops the spatial axes of `x` to those of `like`, equally on both sides; if the sizes are equal, returns `x`."""
    for axis in range(2, x.dim()):
        start = (x.shape[axis] - like.shape[axis]) // 2
        x = x.narrow(axis, start, like.shape[axis])
    return x


def center_pad(x: Float[Tensor, "n c *spatial"], like: Float[Tensor, "n k *size"]) -> Float[Tensor, "n c *size"]:
    """Pads the spatial axes of `x` with zeros to the size of `like`, equally on both sides."""
    pads: list[int] = []
    for axis in reversed(range(2, x.dim())):  # F.pad counts from the last axis
        total = like.shape[axis] - x.shape[axis]
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def crop_like(
    x: Float[Tensor, "n c *spatial"], like: Float[Tensor, "n k *size"], offset: int
) -> Float[Tensor, "n c *size"]:
    """Crops the spatial axes of `x` to those of `like`, starting at `offset`."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, offset, like.shape[axis])
    return x


def pad_end(x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *larger"]:
    """Adds one zero at the high end of each spatial axis of `x`."""
    return F.pad(x, [0, 1] * (x.dim() - 2))
