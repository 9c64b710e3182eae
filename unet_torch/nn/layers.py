"""The layers of a network in PyTorch, made by one factory. `unet_jax/nn/layers.py` is the same in Flax."""

from __future__ import annotations

from typing import Any

from torch import nn

from unet_spec import NetworkConfig

from . import spatial
from .convolution import CroppedConvTranspose, StdConv
from .norm import BatchNorm2d, BatchNorm3d, GroupNorm
from .pointwise import Activation
from .spatial import Sizes, per_axis

NORMS = ("none", "batch", "shift", "group", "instance", "plain", "layer")


class Layers:
    """Makes the layers of one network according to its config.

    Kernels, strides and windows are one number for all axes, or one number per axis. These fields of the config are
    used; missing fields have the value in brackets:

        spatial_dims: number of axes, 2 or 3.
        padding: padding of convolutions, "same" or "valid" ("same").
        conv_bias: whether the convolutions of the blocks have a bias (True).
        norm: norm of the blocks, one of NORMS ("batch"). "shift" is a batch norm without a scale, "plain" an instance
            norm without scale and shift; "layer" normalises over the channels of each position, the last axis.
        norm_eps, norm_momentum, norm_groups: of the norms (1e-5, 0.1, 8); momentum is the share of the new batch.
        activation, slope: of the blocks, one of `ACTIVATIONS` or "prelu", and that of leaky_relu ("relu", 0.01).

    Args:
        config: the network.
        norm, bias: values that replace those of the config.
    """

    def __init__(self, config: NetworkConfig, *, norm: str | None = None, bias: bool | None = None):
        def field(name: str, default: Any) -> Any:
            return getattr(config, name, default)

        self.dims = config.spatial_dims
        self.valid: bool = field("padding", "same") == "valid"
        self.bias: bool = field("conv_bias", True) if bias is None else bias
        self.norm_kind: str = norm or field("norm", "batch")
        self.eps: float = field("norm_eps", 1e-5)
        self.momentum: float = field("norm_momentum", 0.1)
        self.groups: int = field("norm_groups", 8)
        self.activation: str = field("activation", "relu")
        self.slope: float = field("slope", 0.01)

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 3,
        stride: Sizes = 1,
        pad: Sizes | None = None,
        bias: bool = True,
    ) -> nn.Conv2d | nn.Conv3d:
        """A convolution. `pad`: number of zeros per side; default (kernel − 1) / 2 or, in a valid network, 0."""
        cls: type = nn.Conv2d if self.dims == 2 else nn.Conv3d
        if pad is None:
            pad = 0 if self.valid else tuple((n - 1) // 2 for n in per_axis(kernel, self.dims))
        return cls(channels_in, channels_out, kernel, stride, pad, bias=bias)

    def std_conv(self, channels_in: int, channels_out: int, kernel: Sizes = 3, stride: Sizes = 1) -> StdConv:
        """A weight-standardised convolution without bias, padded by (kernel − 1) / 2 zeros per side."""
        return StdConv(channels_in, channels_out, per_axis(kernel, self.dims), per_axis(stride, self.dims))

    def up_conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 2,
        stride: Sizes = 2,
        cut: tuple[int, int] = (0, 0),
        bias: bool = True,
        trained: bool = True,
    ) -> nn.Module:
        """A transposed convolution, cropped by `cut` pixels at the low and at the high end. With `trained` False, no
        optimizer changes its kernel."""
        window, strides = per_axis(kernel, self.dims), per_axis(stride, self.dims)
        cls: Any = nn.ConvTranspose2d if self.dims == 2 else nn.ConvTranspose3d
        if cut == (0, 0):
            layer = cls(channels_in, channels_out, window, strides, bias=bias)
        else:
            layer = CroppedConvTranspose(channels_in, channels_out, window, strides, cut, bias)
        layer.weight.requires_grad_(trained)
        return layer

    def linear(self, features_in: int, features_out: int) -> nn.Linear:
        """A linear layer over the last axis."""
        return nn.Linear(features_in, features_out)

    def norm(
        self, features: int, kind: str | None = None, *, groups: int | None = None, eps: float | None = None
    ) -> nn.Module:
        """A norm. `kind`, `groups` and `eps` default to the network's."""
        kind, eps = kind or self.norm_kind, self.eps if eps is None else eps
        match kind:
            case "none":
                return nn.Identity()
            case "batch" | "shift":
                batch_norm = BatchNorm2d if self.dims == 2 else BatchNorm3d
                return batch_norm(features, eps, self.momentum, use_scale=kind == "batch")
            case "group":
                return GroupNorm(groups or self.groups, features, eps)
            case "instance" | "plain":
                cls = nn.InstanceNorm2d if self.dims == 2 else nn.InstanceNorm3d
                return cls(features, eps, affine=kind == "instance")
            case "layer":
                return nn.LayerNorm(features, eps)
        raise ValueError(f"unknown norm {kind!r}; known: {', '.join(NORMS)}")

    def act(self, kind: str | None = None) -> nn.Module:
        """An activation; by default the network's."""
        kind = kind or self.activation
        if kind == "prelu":
            return nn.PReLU()
        return Activation(kind, self.slope)

    def dropout(self, rate: float) -> nn.Module:
        """Dropout of single values, not of whole channels."""
        return nn.Dropout(rate) if rate else nn.Identity()

    def position_embedding(self, features: int, grid: tuple[int, ...]) -> spatial.PositionEmbedding:
        """A trained vector for each position of `grid`."""
        return spatial.PositionEmbedding(features, grid)

    # These do not depend on the config.
    max_pool, avg_pool, window_max_pool = spatial.MaxPool, spatial.AvgPool, spatial.WindowMaxPool
    global_avg_pool, drop_block = spatial.GlobalAvgPool, spatial.DropBlock
    upsample, nearest_upsample = spatial.Upsample, spatial.NearestUpsample
