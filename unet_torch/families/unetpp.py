"""UNet++ in PyTorch. `unet_jax/families/unetpp.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/unetpp.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.unetpp import UNetPPConfig

from ..network import Loss, Network
from ..nn.blocks import ConvBlock, DownBlock, TwoConvs
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Labels, Logits, Scalar, Weights


class JoinedBlock(TwoConvs):
    """Concatenates all previous maps of the row and the upsampled map from below; then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, align_corners: bool):
        super().__init__(layers, channels_in, width)
        self.up = layers.upsample(2, align_corners)

    def forward(
        self, row: list[Float[Tensor, "n c *spatial"]], below: Float[Tensor, "n k *low"]
    ) -> Float[Tensor, "n c *spatial"]:
        return self.convolve(torch.cat([*row, self.up(below)], dim=1))


@register(UNetPPConfig)
class UNetPP(Network):
    """UNet++ (Zhou et al. 2018, arXiv 1807.10165): `nodes[i][j]` is the paper's X(i, j). Arguments as for `UNet`."""

    config: UNetPPConfig

    def __init__(self, config: UNetPPConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config)
        widths, levels = config.widths, len(config.widths)
        self.nodes = nn.ModuleList()
        for i in range(levels):
            above = widths[i - 1] if i else config.in_channels
            first = (DownBlock if i else ConvBlock)(layers, above, widths[i])
            joined = [
                JoinedBlock(layers, j * widths[i] + widths[i + 1], widths[i], config.align_corners)
                for j in range(1, levels - i)
            ]
            self.nodes.append(nn.ModuleList([first, *joined]))
        if config.deep_supervision:
            self.heads = nn.ModuleList([layers.conv(widths[0], config.out_channels, 1) for _ in range(levels - 1)])
        else:
            self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial): those of the last head."""
        row = self.features(image)
        return self.heads[-1](row[-1]) if self.config.deep_supervision else self.head(row[-1])

    def outputs(self, image: Image) -> list[Logits]:
        """The logits of every head, in the order of the nodes."""
        row = self.features(image)
        if not self.config.deep_supervision:
            return [self.head(row[-1])]
        return [head(x) for head, x in zip(self.heads, row[1:], strict=True)]

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The mean of the losses (`of`) of every head's logits (deep supervision; the paper, section 3.2)."""
        losses = [of(logits, labels, weights) for logits in self.outputs(image)]
        return sum(losses[1:], losses[0]) / len(losses)

    def features(self, image: Image) -> list[Float[Tensor, "n k *spatial"]]:
        """The first row of maps, X(0, 0) … X(0, n − 1)."""
        self.check(image)
        nodes, rows = [list(row.children()) for row in self.nodes], []
        for i, row in enumerate(nodes):
            rows.append([row[0](rows[i - 1][0] if i else image)])
            for j in range(1, i + 1):
                k = i - j
                rows[k].append(nodes[k][j](rows[k], rows[k + 1][j - 1]))
        return rows[0]
