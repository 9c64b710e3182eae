"""Layers of the families in PyTorch. `unet_jax/families/layers.py` is the same file in Flax.

Tensors are channels-first, (N, C, *spatial). What the U-Net has too (activation, pooling, interpolation, batch norm)
comes from `unet_torch.blocks`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.ops import DropBlock as DropBlockOp
from unet_spec.ops import PositionEmbedding as PositionEmbeddingOp
from unet_torch.blocks import BatchNorm


class Layers:
    """Makes the layers of one network, which agree in number of axes and batch norm."""

    def __init__(self, dims: int, eps: float = 1e-5, momentum: float = 0.1, valid: bool = False):
        self.dims, self.eps, self.momentum, self.valid = dims, eps, momentum, valid

    def conv(
        self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1, pad: int | None = None, bias=True
    ) -> nn.Module:
        """A convolution; `pad` zeros a side: (kernel − 1) / 2 or, in a valid network, none, unless given."""
        cls = nn.Conv2d if self.dims == 2 else nn.Conv3d
        if pad is None:
            pad = 0 if self.valid else (kernel - 1) // 2
        return cls(channels_in, channels_out, kernel, stride, pad, bias=bias)

    def std_conv(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> StdConv:
        """A weight-standardised convolution without bias, padded by (kernel − 1) / 2 zeros a side."""
        return StdConv(channels_in, channels_out, kernel, stride, (kernel - 1) // 2, bias=False)

    def up_conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 2,
        stride: int = 2,
        cut: tuple[int, int] = (0, 0),
        bias: bool = True,
    ) -> nn.Module:
        """A transposed convolution; `cut` pixels are left out at the low and at the high end."""
        cls = ConvTranspose2d if self.dims == 2 else ConvTranspose3d
        return cls(channels_in, channels_out, kernel, stride, cut, bias)

    def batch_norm(self, features: int) -> BatchNorm:
        return BatchNorm(features, self.eps, self.momentum)

    def shift_norm(self, features: int) -> BatchNorm:
        """A batch norm without a scale."""
        norm = BatchNorm(features, self.eps, self.momentum)
        norm.weight = None  # type: ignore[assignment]
        return norm

    def group_norm(self, features: int, groups: int, eps: float) -> GroupNorm:
        return GroupNorm(groups, features, eps)

    def instance_norm(self, features: int) -> nn.Module:
        """Without scale and shift."""
        cls = nn.InstanceNorm2d if self.dims == 2 else nn.InstanceNorm3d
        return cls(features, self.eps)

    def layer_norm(self, features: int, eps: float) -> nn.LayerNorm:
        return nn.LayerNorm(features, eps)

    def linear(self, features_in: int, features_out: int) -> nn.Linear:
        return nn.Linear(features_in, features_out)

    def prelu(self) -> nn.PReLU:
        return nn.PReLU()


class GroupNorm(nn.GroupNorm):
    """PyTorch's, also for a group of one value, which F.group_norm refuses: it becomes the bias."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class StdConv(nn.Conv2d):
    """A convolution whose weight is standardised per output channel before use, with 1e-5 added to the variance."""

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
        return self._conv_forward(x, (self.weight - mean) * torch.rsqrt(variance + 1e-5), self.bias)


class _ConvTranspose:
    """Cuts what PyTorch's `padding` and `output_padding` cannot: another number of pixels at each end."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int, cut: tuple[int, int], bias: bool):
        super().__init__(channels_in, channels_out, kernel, stride, bias=bias)  # type: ignore[call-arg]
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)  # type: ignore[misc]
        for axis in range(2, y.dim()):
            y = y.narrow(axis, self.cut[0], y.shape[axis] - sum(self.cut))
        return y


class ConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """A transposed convolution of images, cut."""


class ConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """A transposed convolution of volumes, cut."""


class Sigmoid(nn.Sigmoid):
    """1 / (1 + exp(−x))."""


class AvgPool(nn.Module):
    """Mean over windows of 2 per axis."""

    def __init__(self, dims: int):
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.dims == 2 else F.avg_pool3d(x, 2)


class WindowMaxPool(nn.Module):
    """Maximum over windows that may overlap; with `ceil`, a last one that overhangs the map counts too."""

    def __init__(self, dims: int, window: int, stride: int, ceil: bool = False):
        super().__init__()
        self.dims, self.window, self.stride, self.ceil = dims, window, stride, ceil

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool2d if self.dims == 2 else F.max_pool3d
        return pool(x, self.window, self.stride, ceil_mode=self.ceil)


class GlobalAvgPool(nn.Module):
    """Mean over the whole map, which becomes one pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(tuple(range(2, x.dim())), keepdim=True)


class NearestUpsample(nn.Module):
    """Each pixel becomes a window of `scale` equal ones per axis."""

    def __init__(self, scale: int):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode="nearest")


class DropBlock(nn.Module):
    """In training, zeroes squares of pixels, each channel by itself, and scales the rest; see
    `unet_spec.ops.DropBlock`."""

    def __init__(self, keep: float, block: int):
        super().__init__()
        self.op = DropBlockOp(keep, block)

    def mask(self, x: Tensor) -> Tensor:
        """1 where a value of `x` is kept, 0 in the squares."""
        size, block = tuple(x.shape[2:]), self.op.block
        centres = x.new_zeros(*x.shape[:2], *(n - block + 1 for n in size)).bernoulli_(self.op.gamma(size))
        centres = F.pad(centres, [block - 1] * 2 * len(size))
        pool = F.max_pool2d if len(size) == 2 else F.max_pool3d
        return 1 - pool(centres, block, 1)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.op.gamma(tuple(x.shape[2:])):
            return x
        mask = self.mask(x)
        return x * mask * (mask.numel() / mask.sum().clamp(min=1))


class PositionEmbedding(nn.Module):
    """Adds a trained vector to each pixel, interpolated (aligned corners) where the map has another size than
    `grid`."""

    def __init__(self, features: int, grid: tuple[int, ...]):
        super().__init__()
        self.op = PositionEmbeddingOp(features, grid)
        self.weight = nn.Parameter(torch.zeros(self.op.parameters()["weight"].shape))

    def forward(self, x: Tensor) -> Tensor:
        vectors = self.weight.transpose(1, 2).reshape(1, -1, *self.op.grid)
        if x.shape[2:] != self.op.grid:
            vectors = F.interpolate(vectors, tuple(x.shape[2:]), mode="bilinear", align_corners=True)
        return x + vectors


def channel_max(x: Tensor) -> Tensor:
    """The maximum over the channels of `x` (N, C, *spatial), one channel; its gradient goes to one of the equal
    ones."""
    return x.max(1, keepdim=True).values


def center_crop(x: Tensor, like: Tensor) -> Tensor:
    """Cuts `x` (N, C, *spatial) on both sides to the size of `like`; where they are alike, it is `x`."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, (x.shape[axis] - like.shape[axis]) // 2, like.shape[axis])
    return x


def crop_like(x: Tensor, like: Tensor, offset: int) -> Tensor:
    """Cuts the spatial axes of `x` (N, C, *spatial) to those of `like`, beginning at `offset`."""
    for axis in range(2, x.dim()):
        x = x.narrow(axis, offset, like.shape[axis])
    return x


def pad_end(x: Tensor) -> Tensor:
    """Adds one zero at the high end of each spatial axis of `x` (N, C, *spatial)."""
    return F.pad(x, [0, 1] * (x.dim() - 2))
