"""M-Net in Flax NNX. `unet_torch/families/m_net.py` is the same in PyTorch.

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

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, MaxPool, kept
from unet_jax.families.layers import AvgPool, Layers, NearestUpsample
from unet_jax.network import Loss, Network
from unet_spec.families import MNetConfig
from unet_spec.geometry import check_image


class PlainBlock(nnx.Module):
    """Twice: 3x3 convolution, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.conv1 = layers.conv(channels_in, width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act2(self.conv2(self.act1(self.conv1(x))))


class DownBlock(PlainBlock):
    """Half the size, then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__(layers, channels_in, width)
        self.pool = MaxPool(layers.dims)

    def __call__(self, x: Array) -> Array:
        return super().__call__(self.pool(x))


class FedBlock(DownBlock):
    """Half the size, joined with what a convolution sees in the averaged image, as [image's, pooled]; then a block."""

    def __init__(self, layers: Layers, image_channels: int, channels_in: int, width: int):
        super().__init__(layers, width + channels_in, width)
        self.image_pool = AvgPool(layers.dims)
        self.image_conv = layers.conv(image_channels, width)
        self.image_act = Activation("relu")

    def __call__(self, x: Array, image: Array) -> tuple[Array, Array]:
        """The block's output, and the image at its size."""
        image = self.image_pool(image)
        x = jnp.concatenate([self.image_act(self.image_conv(image)), self.pool(x)], axis=-1)
        return PlainBlock.__call__(self, x), image


class UpBlock(nnx.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.up = layers.up_conv(channels_in, width)
        self.block = PlainBlock(layers, 2 * width, width)

    def __call__(self, x: Array, skip: Array) -> Array:
        return self.block(jnp.concatenate([self.up(x), skip], axis=-1))


class SideHead(nnx.Module):
    """The logits of one scale, at the image's size."""

    def __init__(self, layers: Layers, width: int, out_channels: int, scale: int):
        self.up = NearestUpsample(scale)
        self.conv = layers.conv(width, out_channels, 1)

    def __call__(self, x: Array) -> Array:
        return self.conv(self.up(x))


class MNet(Network):
    """M-Net (Fu et al. 2018, arXiv 1801.00926).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters.
    """

    config: MNetConfig

    def __init__(self, config: MNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype)
        widths, last, image = config.widths, len(config.widths) - 1, config.in_channels
        self.encoder = nnx.List(
            [
                PlainBlock(layers, image, widths[0]),
                *(FedBlock(layers, image, widths[i - 1], widths[i]) for i in range(1, last)),
                DownBlock(layers, widths[-2], widths[-1]),
            ]
        )
        self.decoder = nnx.List([UpBlock(layers, widths[i + 1], widths[i]) for i in reversed(range(last))])
        self.heads = nnx.List([SideHead(layers, widths[i], config.out_channels, 2**i) for i in reversed(range(last))])
        self.initialize(seed, dtype)

    def loss(self, of: Loss, image: Array, labels: Array, weights: Array | None, rngs: nnx.Rngs) -> Array:
        """The mean of `of` every head's logits and of `of` their mean. The paper adds up the losses of its side outputs
        with a weight α for each; equal weights, and the loss of the mean among them, are ours."""
        sides = self.outputs(image)
        losses = [of(logits, labels, weights) for logits in (*sides, sum(sides[1:], sides[0]) / len(sides))]
        return sum(losses[1:], losses[0]) / len(losses)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels): the mean of all heads."""
        sides = self.outputs(image)
        return sum(sides[1:], sides[0]) / len(sides)

    def outputs(self, image: Array, rngs: nnx.Rngs | None = None) -> list[Array]:
        """The logits of every head, the coarsest first, all at the image's size."""
        check_image(self.config.graph, image.shape)
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
