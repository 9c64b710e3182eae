"""M-Net in PyTorch. `unet_jax/families/m_net.py` is the same in Flax.

M-Net (Fu et al. 2018, arXiv 1801.00926): a U-Net fed at every scale, with an output at every scale.

    image ─────────────▶ encoder.0 ──── skip ────▶ decoder.3 ─▶ heads.3 ─┐
      └ average ▶ conv ─▶ [·, pool] encoder.1 ─▶ decoder.2 ┘ up ▶ heads.2 ┤ mean ─▶ logits
          └ average ▶ conv ─▶ [·, pool] ... ─────▶ ...     ┘ up ▶ ...     ┘
                                                          heads: nearest-neighbour upsampling, 1x1 convolution

blocks: twice 3x3 convolution with bias, ReLU. Joined as [image's, pooled] on the way down, [upsampled, skip] on the way
up.

Follows the authors' Keras code. It averages the side outputs behind their sigmoids; ours are logits, so we average
logits. The polar transform that the paper puts before the network is no part of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unet_spec.families import MNetConfig
from unet_torch.blocks import Activation, MaxPool
from unet_torch.families.layers import AvgPool, Layers, NearestUpsample
from unet_torch.network import Loss, Network


class PlainBlock(nn.Module):
    """Twice: 3x3 convolution, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__()
        self.conv1 = layers.conv(channels_in, width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.act2 = Activation("relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.act2(self.conv2(self.act1(self.conv1(x))))


class DownBlock(PlainBlock):
    """Half the size, then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__(layers, channels_in, width)
        self.pool = MaxPool(layers.dims)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.pool(x))


class FedBlock(DownBlock):
    """Half the size, joined with what a convolution sees in the averaged image, as [image's, pooled]; then a block."""

    def __init__(self, layers: Layers, image_channels: int, channels_in: int, width: int):
        super().__init__(layers, width + channels_in, width)
        self.image_pool = AvgPool(layers.dims)
        self.image_conv = layers.conv(image_channels, width)
        self.image_act = Activation("relu")

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The block's output, and the image at its size."""
        image = self.image_pool(image)
        x = torch.cat([self.image_act(self.image_conv(image)), self.pool(x)], dim=1)
        return PlainBlock.forward(self, x), image


class UpBlock(nn.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__()
        self.up = layers.up_conv(channels_in, width)
        self.block = PlainBlock(layers, 2 * width, width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(torch.cat([self.up(x), skip], dim=1))


class SideHead(nn.Module):
    """The logits of one scale, at the image's size."""

    def __init__(self, layers: Layers, width: int, out_channels: int, scale: int):
        super().__init__()
        self.up = NearestUpsample(scale)
        self.conv = layers.conv(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.up(x))


class MNet(Network):
    """M-Net (Fu et al. 2018, arXiv 1801.00926).

    Args:
        config: the network.
        seed: of the initial weights; None: left to be loaded.
    """

    config: MNetConfig

    def __init__(self, config: MNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config.spatial_dims)
        widths, last, image = config.widths, len(config.widths) - 1, config.in_channels
        self.encoder = nn.ModuleList(
            [
                PlainBlock(layers, image, widths[0]),
                *(FedBlock(layers, image, widths[i - 1], widths[i]) for i in range(1, last)),
                DownBlock(layers, widths[-2], widths[-1]),
            ]
        )
        self.decoder = nn.ModuleList([UpBlock(layers, widths[i + 1], widths[i]) for i in reversed(range(last))])
        self.heads = nn.ModuleList(
            [SideHead(layers, widths[i], config.out_channels, 2**i) for i in reversed(range(last))]
        )
        self.initialize(seed)

    def loss(self, of: Loss, image: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The mean of `of` every head's logits and of `of` their mean. The paper adds up the losses of its side outputs
        with a weight α for each; equal weights, and the loss of the mean among them, are ours."""
        sides = self.outputs(image)
        losses = [of(logits, labels, weights) for logits in (*sides, sum(sides[1:], sides[0]) / len(sides))]
        return sum(losses[1:], losses[0]) / len(losses)

    def forward(self, image: Tensor) -> Tensor:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial): the mean of all heads."""
        sides = self.outputs(image)
        return sum(sides[1:], sides[0]) / len(sides)

    def outputs(self, image: Tensor) -> list[Tensor]:
        """The logits of every head, the coarsest first, all at the image's size."""
        self.check(image)
        first, *fed, bottleneck = self.encoder
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
