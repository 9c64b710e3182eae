"""SA-UNet in PyTorch. `unet_jax/families/sa_unet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/sa_unet.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.sa_unet import SAUNetConfig

from ..network import Network
from ..nn.blocks import UpBlock
from ..nn.layers import Layers
from ..nn.pointwise import channel_max
from ..registry import register
from ..shapes import Image, Logits


class DropConvBlock(nn.Module):
    """Two times 3x3 convolution, DropBlock, batch norm, ReLU. `pool`: halves the map first."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int, pool: bool = False):
        super().__init__()
        self.pool = layers.max_pool() if pool else nn.Identity()
        self.conv1 = layers.conv(channels_in, width)
        self.drop1 = layers.drop_block(config.keep, config.block)
        self.norm1 = layers.norm(width)
        self.act1 = layers.act()
        self.conv2 = layers.conv(width, width)
        self.drop2 = layers.drop_block(config.keep, config.block)
        self.norm2 = layers.norm(width)
        self.act2 = layers.act()

    def first(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.act1(self.norm1(self.drop1(self.conv1(self.pool(x)))))

    def second(self, x: Float[Tensor, "n k *spatial"]) -> Float[Tensor, "n k *spatial"]:
        return self.act2(self.norm2(self.drop2(self.conv2(x))))

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.second(self.first(x))


class SpatialAttention(nn.Module):
    """Multiplies every pixel by a number in 0 … 1, computed by a 7x7 convolution of the mean and the maximum over the
    channels."""

    def __init__(self, layers: Layers):
        super().__init__()
        self.conv = layers.conv(2, 1, 7, bias=False)
        self.sigmoid = layers.act("sigmoid")

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n c *spatial"]:
        pooled = torch.cat([x.mean(1, keepdim=True), channel_max(x)], dim=1)
        return x * self.sigmoid(self.conv(pooled))


class Bottleneck(DropConvBlock):
    """Halves the map, then applies a block with spatial attention between its two convolutions."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__(config, layers, channels_in, width, pool=True)
        self.attention = SpatialAttention(layers)

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.second(self.attention(self.first(x)))


@register(SAUNetConfig)
class SAUNet(Network):
    """SA-UNet (Guo et al. 2020, arXiv 2004.03696). Arguments as for `UNet`."""

    config: SAUNetConfig

    def __init__(self, config: SAUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config)
        widths, last = config.widths, len(config.widths) - 1
        ins = (config.in_channels, *widths)
        self.encoder = nn.ModuleList(
            [DropConvBlock(config, layers, ins[i], widths[i], pool=i > 0) for i in range(last)]
        )
        self.bottleneck = Bottleneck(config, layers, widths[-2], widths[-1])
        self.decoder = nn.ModuleList()
        for i in reversed(range(last)):
            up = layers.up_conv(widths[i + 1], widths[i], 3, cut=(0, 1))
            block = DropConvBlock(config, layers, 2 * widths[i], widths[i])
            self.decoder.append(UpBlock(up, block))
        self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
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
