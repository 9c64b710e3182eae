"""SA-UNet in PyTorch. `unet_jax/families/sa_unet.py` is the same in Flax.

SA-UNet (Guo et al. 2020, arXiv 2004.03696): a small U-Net with spatial attention in the bottleneck, and DropBlock.

    encoder.0 ───────── skip ────────▶ decoder.2 ─▶ head       blocks: twice 3x3 convolution, DropBlock, batch norm,
      └ pool ▶ encoder.1 ─ skip ─▶ decoder.1 ┘ up              ReLU; between the two convolutions of the bottleneck:
                 └ ... bottleneck ▶ ... ─────┘ up              x · σ(7x7 convolution of [mean, max] over channels)

Follows the authors' Keras code, [upsampled, skip], transposed 3x3 convolutions with the last row and column cut, eps
1e-3 and momentum 0.99; we leave out the sigmoid at the end. The paper's figure shows the attention between encoder and
decoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unet_spec.families import SAUNetConfig
from unet_torch.blocks import Activation, MaxPool
from unet_torch.families.layers import DropBlock, Layers, Sigmoid, channel_max
from unet_torch.network import Network


class DropConvBlock(nn.Module):
    """Twice: 3x3 convolution, DropBlock, batch norm, ReLU."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__()
        self.conv1 = layers.conv(channels_in, width)
        self.drop1 = DropBlock(config.keep, config.block)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.drop2 = DropBlock(config.keep, config.block)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    def first(self, x: Tensor) -> Tensor:
        return self.act1(self.norm1(self.drop1(self.conv1(x))))

    def second(self, x: Tensor) -> Tensor:
        return self.act2(self.norm2(self.drop2(self.conv2(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class DownBlock(DropConvBlock):
    """Half the size, then a block."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__(config, layers, channels_in, width)
        self.pool = MaxPool(layers.dims)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


class SpatialAttention(nn.Module):
    """Weighs every pixel by a number in 0 … 1: a 7x7 convolution of the mean and the maximum over the channels."""

    def __init__(self, layers: Layers):
        super().__init__()
        self.conv = layers.conv(2, 1, 7, bias=False)
        self.sigmoid = Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.mean(1, keepdim=True), channel_max(x)], dim=1)
        return x * self.sigmoid(self.conv(pooled))


class Bottleneck(DownBlock):
    """Half the size, then a block with spatial attention between its two convolutions."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__(config, layers, channels_in, width)
        self.attention = SpatialAttention(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.attention(self.first(self.pool(x))))


class UpBlock(nn.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__()
        self.up = layers.up_conv(channels_in, width, 3, cut=(0, 1))
        self.block = DropConvBlock(config, layers, 2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(torch.cat([self.up(x), skip], dim=1))


class SAUNet(Network):
    """SA-UNet (Guo et al. 2020, arXiv 2004.03696).

    Args:
        config: the network.
        seed: of the initial weights; None: left to be loaded.
    """

    config: SAUNetConfig

    def __init__(self, config: SAUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config.spatial_dims, config.norm_eps, config.norm_momentum)
        widths, last = config.widths, len(config.widths) - 1
        self.encoder = nn.ModuleList(
            [DropConvBlock(config, layers, config.in_channels, widths[0])]
            + [DownBlock(config, layers, widths[i - 1], widths[i]) for i in range(1, last)]
        )
        self.bottleneck = Bottleneck(config, layers, widths[-2], widths[-1])
        self.decoder = nn.ModuleList([UpBlock(config, layers, widths[i + 1], widths[i]) for i in reversed(range(last))])
        self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed)

    def forward(self, image: Tensor) -> Tensor:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial)."""
        self.check(image)
        x, skips = image, []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        x = self.bottleneck(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)
