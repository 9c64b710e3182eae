"""Blocks that several networks share, in PyTorch. `unet_jax/nn/blocks.py` is the same file in Flax.

Tensors are channels-first, (N, C, *spatial). Every attribute that is a layer carries the name of a node of the graph:
these names are the checkpoint's.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .layers import Layers
from .spatial import Sizes, center_crop, center_pad, per_axis


class ConvUnit(nn.Module):
    """Convolution, norm, activation; with `bare`, the convolution only."""

    def __init__(
        self,
        layers: Layers,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 3,
        stride: Sizes = 1,
        bare: bool = False,
    ):
        super().__init__()
        self.conv = layers.conv(channels_in, channels_out, kernel, stride, bias=layers.bias)
        self.norm = nn.Identity() if bare else layers.norm(channels_out)
        self.act = nn.Identity() if bare else layers.act()

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.act(self.norm(self.conv(x)))


class TwoConvs(nn.Module):
    """Two times 3x3 convolution, norm, activation; then dropout, if any. Base class of the blocks below.

    Args:
        middle: channels between the two convolutions; None: as many as the output has.
        stride: stride of the first convolution.
    """

    def __init__(
        self,
        layers: Layers,
        channels_in: int,
        channels_out: int,
        middle: int | None = None,
        stride: int = 1,
        dropout: float = 0.0,
    ):
        super().__init__()
        middle = middle or channels_out
        self.conv1 = layers.conv(channels_in, middle, stride=stride, bias=layers.bias)
        self.norm1 = layers.norm(middle)
        self.act1 = layers.act()
        self.conv2 = layers.conv(middle, channels_out, bias=layers.bias)
        self.norm2 = layers.norm(channels_out)
        self.act2 = layers.act()
        self.dropout = layers.dropout(dropout)

    def convolve(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.dropout(x)


class ConvBlock(TwoConvs):
    """Two times 3x3 convolution, norm, activation."""

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.convolve(x)


class DownBlock(TwoConvs):
    """Max-pooling to half the size, then two convolutions. Arguments as for `TwoConvs`."""

    def __init__(self, layers: Layers, *args: Any, **kwargs: Any):
        super().__init__(layers, *args, **kwargs)
        self.pool = layers.max_pool()

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.convolve(self.pool(x))


class UpBlock(nn.Module):
    """Upsamples the map, concatenates it with the skip, then applies a block.

    Args:
        up: the upsampling layer.
        block: a block for the channels of both.
        merge: if the sizes differ, "crop" the skip or "pad" the upsampled map with zeros; None: they never differ.
        skip_first: concatenate as [skip, upsampled] instead of [upsampled, skip].
    """

    def __init__(
        self,
        up: nn.Module,
        block: nn.Module,
        merge: Literal["crop", "pad"] | None = None,
        skip_first: bool = False,
    ):
        super().__init__()
        self.up, self.block, self.merge, self.skip_first = up, block, merge, skip_first

    def forward(self, x: Float[Tensor, "n c *low"], skip: Float[Tensor, "n k *high"]) -> Float[Tensor, "n m *out"]:
        x = self.up(x)
        if self.merge == "crop":
            skip = center_crop(skip, like=x)
        elif self.merge == "pad":
            x = center_pad(x, like=skip)
        return self.block(torch.cat([skip, x] if self.skip_first else [x, skip], dim=1))


class UpConvBlock(TwoConvs):
    """Upsamples the map by `up`, concatenates it with the skip, if any, as [upsampled, skip]; then two convolutions,
    which are attributes of this module."""

    def __init__(self, layers: Layers, up: nn.Module, channels_in: int, channels_out: int):
        super().__init__(layers, channels_in, channels_out)
        self.up = up

    def forward(
        self, x: Float[Tensor, "n c *low"], skip: Float[Tensor, "n k *high"] | None = None
    ) -> Float[Tensor, "n m *high"]:
        x = self.up(x)
        return self.convolve(x if skip is None else torch.cat([x, skip], dim=1))


class Shortcut(nn.Module):
    """The shortcut of a residual block: its input, brought to the size and width of the output.

    Args:
        stride: factor by which the block shrinks its input.
        pool: whether average pooling shrinks the input, instead of the stride of the 1x1 convolution.
    """

    def __init__(self, layers: Layers, channels_in: int, channels_out: int, stride: Sizes = 1, pool: bool = False):
        super().__init__()
        window = per_axis(stride, layers.dims)
        shrinks = max(window) > 1
        self.pool = layers.avg_pool(window) if shrinks and pool else nn.Identity()
        if channels_in != channels_out or (shrinks and not pool):
            self.conv = layers.conv(channels_in, channels_out, 1, 1 if pool else window, bias=False)
            self.norm = layers.norm(channels_out)
        else:
            self.conv, self.norm = nn.Identity(), nn.Identity()

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.norm(self.conv(self.pool(x)))
