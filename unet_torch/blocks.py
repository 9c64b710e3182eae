"""The parts of the network in PyTorch. `unet_jax/blocks.py` is the same file in Flax: same names, same order.

Tensors are channels-first, (N, C, *spatial). Every module carries the name of a node of the graph (`unet_spec.unet`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec import UNetConfig

ACTIVATIONS = {
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
}


class Activation(nn.Module):
    """One of ACTIVATIONS, value by value."""

    def __init__(self, function: str):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.function](x)

    def extra_repr(self) -> str:
        return self.function


class MaxPool(nn.Module):
    """Maximum over windows of 2 per axis."""

    def __init__(self, dims: int):
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2) if self.dims == 2 else F.max_pool3d(x, 2)


class Upsample(nn.Module):
    """Linear interpolation to twice the size."""

    def __init__(self, dims: int, align_corners: bool):
        super().__init__()
        self.mode = "bilinear" if dims == 2 else "trilinear"
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.mode, align_corners=self.align_corners)


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """PyTorch's, for 2-D and 3-D, without the counter `num_batches_tracked`, which a fixed momentum never reads."""

    def __init__(self, features: int, eps: float, momentum: float):
        super().__init__(features, eps, momentum)
        self.num_batches_tracked = None

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *args: object) -> None:
        """Takes the state of a stock BatchNorm, too: its counter is dropped, and none is invented where it has none."""
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, {**local_metadata, "version": 2}, *args)  # type: ignore[arg-type]

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (4, 5):
            raise ValueError(f"expected (N, C, *spatial) with 2 or 3 spatial axes, got {tuple(input.shape)}")


def conv(config: UNetConfig, channels_in: int, channels_out: int, kernel: int, bias: bool) -> nn.Module:
    """A convolution with stride 1; "same" padding is (kernel − 1) / 2 zeros a side."""
    cls = nn.Conv2d if config.spatial_dims == 2 else nn.Conv3d
    padding = (kernel - 1) // 2 if config.padding == "same" else 0
    return cls(channels_in, channels_out, kernel, padding=padding, bias=bias)


def conv_transpose(config: UNetConfig, channels_in: int, channels_out: int) -> nn.Module:
    """A transposed convolution by windows of 2, stride 2: each input value paints one window."""
    cls = nn.ConvTranspose2d if config.spatial_dims == 2 else nn.ConvTranspose3d
    return cls(channels_in, channels_out, 2, stride=2)


def norm(config: UNetConfig, features: int) -> nn.Module:
    """The normalisation that the config names."""
    match config.norm:
        case "batch":
            return BatchNorm(features, config.norm_eps, config.norm_momentum)
        case "group":
            return nn.GroupNorm(config.norm_groups, features, config.norm_eps)
        case "instance":
            cls = nn.InstanceNorm2d if config.spatial_dims == 2 else nn.InstanceNorm3d
            return cls(features, config.norm_eps, affine=True)
    return nn.Identity()


def center_crop(x: Tensor, like: Tensor) -> Tensor:
    """Cuts the spatial axes of `x` (N, C, *spatial) to those of `like`, the same on both sides."""
    for axis in range(2, x.dim()):
        margin = (x.shape[axis] - like.shape[axis]) // 2
        x = x.narrow(axis, margin, like.shape[axis])
    return x


def center_pad(x: Tensor, like: Tensor) -> Tensor:
    """Adds zeros around the spatial axes of `x` (N, C, *spatial) up to those of `like`, the same on both sides."""
    pads: list[int] = []
    for axis in reversed(range(2, x.dim())):  # F.pad counts from the last axis
        total = like.shape[axis] - x.shape[axis]
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


class ConvBlock(nn.Module):
    """Twice: 3x3 convolution, norm, activation. Then dropout, where there is any."""

    def __init__(self, config: UNetConfig, widths: tuple[int, int, int], dropout: float = 0.0):
        super().__init__()
        self.conv1 = conv(config, widths[0], widths[1], 3, config.conv_bias)
        self.norm1 = norm(config, widths[1])
        self.act1 = Activation(config.activation)
        self.conv2 = conv(config, widths[1], widths[2], 3, config.conv_bias)
        self.norm2 = norm(config, widths[2])
        self.act2 = Activation(config.activation)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.dropout(x)


class DownBlock(ConvBlock):
    """Half the size, then a block."""

    def __init__(self, config: UNetConfig, widths: tuple[int, int, int], dropout: float = 0.0):
        super().__init__(config, widths, dropout)
        self.pool = MaxPool(config.spatial_dims)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


class UpBlock(nn.Module):
    """Twice the size, joined with the skip as [skip, upsampled], then a block."""

    def __init__(self, config: UNetConfig, channels_in: int, widths: tuple[int, int, int]):
        super().__init__()
        self.merge = config.merge
        if config.upsampling == "transposed":
            self.up = conv_transpose(config, channels_in, widths[0] // 2)
        else:
            self.up = Upsample(config.spatial_dims, config.align_corners)
        self.block = ConvBlock(config, widths)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)
        if self.merge == "crop":
            skip = center_crop(skip, like=x)
        else:
            x = center_pad(x, like=skip)
        return self.block(torch.cat([skip, x], dim=1))
