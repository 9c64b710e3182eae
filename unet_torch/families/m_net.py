"""M-Net in PyTorch. `unet_jax/families/m_net.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/m_net.py`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.m_net import MNetConfig

from ..network import Loss, Network
from ..nn.blocks import ConvBlock, DownBlock, TwoConvs, UpBlock
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Labels, Logits, Scalar, Weights


class FedBlock(TwoConvs):
    """Halves the map, concatenates it with a convolution of the averaged image, as [image's, pooled]; then a block."""

    def __init__(self, layers: Layers, image_channels: int, channels_in: int, width: int):
        super().__init__(layers, width + channels_in, width)
        self.pool = layers.max_pool()
        self.image_pool = layers.avg_pool()
        self.image_conv = layers.conv(image_channels, width)
        self.image_act = layers.act()

    def forward(
        self, x: Float[Tensor, "n k *fine"], image: Float[Tensor, "n c *fine"]
    ) -> tuple[Float[Tensor, "n m *coarse"], Float[Tensor, "n c *coarse"]]:
        """The block's output, and the image at its size."""
        image = self.image_pool(image)
        x = torch.cat([self.image_act(self.image_conv(image)), self.pool(x)], dim=1)
        return self.convolve(x), image


class SideHead(nn.Module):
    """The logits of one scale, at the image's size."""

    def __init__(self, layers: Layers, width: int, out_channels: int, scale: int):
        super().__init__()
        self.up = layers.nearest_upsample(scale)
        self.conv = layers.conv(width, out_channels, 1)

    def forward(self, x: Float[Tensor, "n c *low"]) -> Float[Tensor, "n k *spatial"]:
        return self.conv(self.up(x))


@register(MNetConfig)
class MNet(Network):
    """M-Net (Fu et al. 2018, arXiv 1801.00926). Arguments as for `UNet`."""

    config: MNetConfig

    def __init__(self, config: MNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config, norm="none")
        widths, last, image = config.widths, len(config.widths) - 1, config.in_channels
        self.encoder = nn.ModuleList(
            [
                ConvBlock(layers, image, widths[0]),
                *(FedBlock(layers, image, widths[i - 1], widths[i]) for i in range(1, last)),
                DownBlock(layers, widths[-2], widths[-1]),
            ]
        )
        self.decoder = nn.ModuleList()
        for i in reversed(range(last)):
            up, block = layers.up_conv(widths[i + 1], widths[i]), ConvBlock(layers, 2 * widths[i], widths[i])
            self.decoder.append(UpBlock(up, block))
        self.heads = nn.ModuleList(
            [SideHead(layers, widths[i], config.out_channels, 2**i) for i in reversed(range(last))]
        )
        self.initialize(seed)

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The mean of the losses (`of`) of every head's logits and of their mean. The paper adds the losses of its side
        outputs, each with a weight α; equal weights and the loss of the mean are our choice."""
        sides = self.outputs(image)
        losses = [of(logits, labels, weights) for logits in (*sides, sum(sides[1:], sides[0]) / len(sides))]
        return sum(losses[1:], losses[0]) / len(losses)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial): the mean of all heads."""
        sides = self.outputs(image)
        return sum(sides[1:], sides[0]) / len(sides)

    def outputs(self, image: Image) -> list[Logits]:
        """The logits of every head, the coarsest first, all at the image's size."""
        self.check(image)
        blocks: list[Any] = list(self.encoder)
        first, *fed, bottleneck = blocks
        x = first(image)
        skips = [x]
        for block in fed:
            x, image = block(x, image)
            skips.append(x)
        x, sides = bottleneck(x), []
        for up, head in zip(self.decoder, self.heads, strict=True):
            x = up(x, skips.pop())
            sides.append(head(x))
        return sides
