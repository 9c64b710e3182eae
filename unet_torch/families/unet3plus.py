"""UNet 3+ in PyTorch. `unet_jax/families/unet3plus.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/unet3plus.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.unet3plus import UNet3PlusConfig

from ..network import Loss, Network
from ..nn.blocks import ConvBlock, ConvUnit, DownBlock
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Labels, Logits, Scalar, Weights


def resizing(layers: Layers, steps: int, align_corners: bool) -> nn.Module:
    """A layer that resizes a map by 2^steps; negative steps shrink it."""
    if steps < 0:
        return layers.max_pool(2**-steps)
    return layers.upsample(2**steps, align_corners) if steps else nn.Identity()


class Branch(ConvUnit):
    """Resizes a map of any level to the node's size; then convolution, norm, activation."""

    def __init__(self, layers: Layers, resize: nn.Module, channels_in: int, width: int):
        super().__init__(layers, channels_in, width)
        self.resize = resize

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return super().forward(self.resize(x))


class FullScaleNode(ConvUnit):
    """One branch per level, concatenated from the finest to the coarsest; then convolution, norm, activation.

    Args:
        level: level of the node; 0 is the finest.
        channels: channels of the maps, by level.
        width: width of each branch.
    """

    def __init__(self, layers: Layers, level: int, channels: list[int], width: int, align_corners: bool):
        joined = width * len(channels)
        super().__init__(layers, joined, joined)
        self.branches = nn.ModuleList(
            [Branch(layers, resizing(layers, j - level, align_corners), n, width) for j, n in enumerate(channels)]
        )

    def forward(self, maps: list[Tensor]) -> Float[Tensor, "n k *spatial"]:
        branches = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return super().forward(torch.cat(branches, dim=1))


class SideHead(nn.Module):
    """The logits of one level, interpolated to the image's size."""

    def __init__(self, layers: Layers, resize: nn.Module, channels_in: int, out_channels: int):
        super().__init__()
        self.conv = layers.conv(channels_in, out_channels)
        self.resize = resize

    def forward(self, x: Float[Tensor, "n c *low"]) -> Float[Tensor, "n k *spatial"]:
        return self.resize(self.conv(x))


@register(UNet3PlusConfig)
class UNet3Plus(Network):
    """UNet 3+ (Huang et al. 2020, arXiv 2004.08790); `decoder[0]` is the coarsest node.

    Args:
        config: the network.
        seed: seed of the initial weights; None: weights are not initialised, for loading.
    """

    config: UNet3PlusConfig

    def __init__(self, config: UNet3PlusConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config)
        channels, last, align = list(config.widths), len(config.widths) - 1, config.align_corners
        self.encoder = nn.ModuleList(
            [
                ConvBlock(layers, config.in_channels, channels[0]),
                *(DownBlock(layers, channels[i], channels[i + 1]) for i in range(last)),
            ]
        )
        self.decoder = nn.ModuleList()
        for level in reversed(range(last)):
            self.decoder.append(FullScaleNode(layers, level, channels, config.cat_channels, align))
            channels[level] = config.cat_channels * len(channels)
        if config.deep_supervision:
            self.heads = nn.ModuleList(
                [
                    SideHead(layers, resizing(layers, level, align), channels[level], config.out_channels)
                    for level in reversed(range(last + 1))
                ]
            )
        else:
            self.head = layers.conv(channels[0], config.out_channels)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial): those of the finest head."""
        finest = self.features(image)[-1]
        return self.heads[-1](finest) if self.config.deep_supervision else self.head(finest)

    def outputs(self, image: Image) -> list[Logits]:
        """The logits of every head, the finest last, all at the image's size."""
        maps = self.features(image)
        if not self.config.deep_supervision:
            return [self.head(maps[-1])]
        return [head(x) for head, x in zip(self.heads, maps, strict=True)]

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The mean of the losses (`of`) of every head's logits (deep supervision; the paper, section 2.2)."""
        losses = [of(logits, labels, weights) for logits in self.outputs(image)]
        return sum(losses[1:], losses[0]) / len(losses)

    def features(self, image: Image) -> list[Tensor]:
        """The map of the bottleneck and of every decoder node, the finest last."""
        self.check(image)
        x, maps = image, []
        for block in self.encoder:
            maps.append(x := block(x))
        for level, node in zip(reversed(range(len(self.decoder))), self.decoder, strict=True):
            maps[level] = node(maps)
        return maps[::-1]
