"""The U-Net in PyTorch. `unet_jax/families/unet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/unet.py`.
"""

from __future__ import annotations

import torch
from torch import nn

from unet_spec.families.unet import UNetConfig, block_widths

from ..network import Network
from ..nn.blocks import ConvBlock, DownBlock, UpBlock
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Logits


@register(UNetConfig)
class UNet(Network):
    """A U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) as its config describes it.

    Args:
        config: the network.
        seed: seed of the initial weights, N(0, sqrt(2 / fan-in)); biases start at 0. None: weights are not initialised,
            for loading.

    Example:
        >>> import torch
        >>> from unet_torch import UNet, preset
        >>> model = UNet(preset("paper", widths=(4, 8, 16))).eval()
        >>> model(torch.zeros(1, 1, 92, 92)).shape
        torch.Size([1, 2, 52, 52])
    """

    config: UNetConfig

    def __init__(self, config: UNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config)
        encoder, decoder = block_widths(config)
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        for i, (channels_in, middle, width) in enumerate(encoder):
            block, deep = DownBlock if i else ConvBlock, i >= len(encoder) - 2
            self.encoder.append(block(layers, channels_in, width, middle, dropout=config.dropout if deep else 0.0))
        below = encoder[-1][2]
        for channels_in, middle, width in decoder:
            if config.upsampling == "transposed":
                up = layers.up_conv(below, channels_in // 2)
            else:
                up = layers.upsample(2, config.align_corners)
            block = ConvBlock(layers, channels_in, width, middle)
            self.decoder.append(UpBlock(up, block, config.merge, skip_first=True))
            below = width
        self.head = layers.conv(below, config.out_channels, 1)
        self.distance = layers.conv(below, 1, 1) if config.distance_head else None
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits.

        Args:
            image: (N, in_channels, *spatial), floating point, of a size on the network's grid.

        Returns:
            (N, out_channels, *spatial), smaller by twice the margin in a network with valid convolutions; with a
            distance head, one more channel, the distance.

        Raises:
            InputError: wrong axes or channels, or a size that does not fit; the message names the nearest sizes that
                fit.
        """
        self.check(image)
        x, skips = image, []
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        logits = self.head(x)
        return logits if self.distance is None else torch.cat([logits, self.distance(x)], dim=1)
