"""M-Net in Flax NNX. `unet_torch/families/m_net.py` is the same in PyTorch.

For the figure and the departures from the paper, see `unet_spec/families/m_net.py`.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

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

    def __call__(
        self, x: Float[Array, "n *fine k"], image: Float[Array, "n *fine c"]
    ) -> tuple[Float[Array, "n *coarse m"], Float[Array, "n *coarse c"]]:
        """The block's output, and the image at its size."""
        image = self.image_pool(image)
        x = jnp.concatenate([self.image_act(self.image_conv(image)), self.pool(x)], axis=-1)
        return self.convolve(x), image


class SideHead(nnx.Module):
    """The logits of one scale, at the image's size."""

    def __init__(self, layers: Layers, width: int, out_channels: int, scale: int):
        self.up = layers.nearest_upsample(scale)
        self.conv = layers.conv(width, out_channels, 1)

    def __call__(self, x: Float[Array, "n *low c"]) -> Float[Array, "n *spatial k"]:
        return self.conv(self.up(x))


@register(MNetConfig)
class MNet(Network):
    """M-Net (Fu et al. 2018, arXiv 1801.00926). Arguments as for `UNet`."""

    config: MNetConfig

    def __init__(self, config: MNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config, dtype, norm="none")
        widths, last, image = config.widths, len(config.widths) - 1, config.in_channels
        self.encoder = nnx.List(
            [
                ConvBlock(layers, image, widths[0]),
                *(FedBlock(layers, image, widths[i - 1], widths[i]) for i in range(1, last)),
                DownBlock(layers, widths[-2], widths[-1]),
            ]
        )
        self.decoder = nnx.List([])
        for i in reversed(range(last)):
            up, block = layers.up_conv(widths[i + 1], widths[i]), ConvBlock(layers, 2 * widths[i], widths[i])
            self.decoder.append(UpBlock(up, block))
        self.heads = nnx.List([SideHead(layers, widths[i], config.out_channels, 2**i) for i in reversed(range(last))])
        self.initialize(seed, dtype)

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None, rngs: nnx.Rngs) -> Scalar:
        """The mean of the losses (`of`) of every head's logits and of their mean. The paper adds the losses of its side
        outputs, each with a weight α; equal weights and the loss of the mean are our choice."""
        sides = self.outputs(image)
        losses = [of(logits, labels, weights) for logits in (*sides, sum(sides[1:], sides[0]) / len(sides))]
        return sum(losses[1:], losses[0]) / len(losses)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels): the mean of all heads."""
        sides = self.outputs(image)
        return sum(sides[1:], sides[0]) / len(sides)

    def outputs(self, image: Image, rngs: nnx.Rngs | None = None) -> list[Logits]:
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
