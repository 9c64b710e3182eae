"""SA-UNet in Flax NNX. `unet_torch/families/sa_unet.py` is the same in PyTorch.

SA-UNet (Guo et al. 2020, arXiv 2004.03696): a small U-Net with spatial attention in the bottleneck, and DropBlock.

    encoder.0 ───────── skip ────────▶ decoder.2 ─▶ head       blocks: twice 3x3 convolution, DropBlock, batch norm,
      └ pool ▶ encoder.1 ─ skip ─▶ decoder.1 ┘ up              ReLU; between the two convolutions of the bottleneck:
                 └ ... bottleneck ▶ ... ─────┘ up              x · σ(7x7 convolution of [mean, max] over channels)

Follows the authors' Keras code, [upsampled, skip], transposed 3x3 convolutions with the last row and column cut, eps
1e-3 and momentum 0.99; we leave out the sigmoid at the end. The paper's figure shows the attention between encoder and
decoder.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, MaxPool, kept
from unet_jax.families.layers import DropBlock, Layers, Sigmoid, channel_max
from unet_jax.network import Network
from unet_spec.families import SAUNetConfig
from unet_spec.geometry import check_image


class DropConvBlock(nnx.Module):
    """Twice: 3x3 convolution, DropBlock, batch norm, ReLU."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        self.conv1 = layers.conv(channels_in, width)
        self.drop1 = DropBlock(config.keep, config.block)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.drop2 = DropBlock(config.keep, config.block)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    def first(self, x: Array, rngs: nnx.Rngs | None) -> Array:
        return self.act1(self.norm1(self.drop1(self.conv1(x), rngs)))

    def second(self, x: Array, rngs: nnx.Rngs | None) -> Array:
        return self.act2(self.norm2(self.drop2(self.conv2(x), rngs)))

    @kept
    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        return self.second(self.first(x, rngs), rngs)


class DownBlock(DropConvBlock):
    """Half the size, then a block."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__(config, layers, channels_in, width)
        self.pool = MaxPool(layers.dims)

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        return super().__call__(self.pool(x), rngs)


class SpatialAttention(nnx.Module):
    """Weighs every pixel by a number in 0 … 1: a 7x7 convolution of the mean and the maximum over the channels."""

    def __init__(self, layers: Layers):
        self.conv = layers.conv(2, 1, 7, bias=False)
        self.sigmoid = Sigmoid()

    def __call__(self, x: Array) -> Array:
        pooled = jnp.concatenate([x.mean(-1, keepdims=True), channel_max(x)], axis=-1)
        return x * self.sigmoid(self.conv(pooled))


class Bottleneck(DownBlock):
    """Half the size, then a block with spatial attention between its two convolutions."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        super().__init__(config, layers, channels_in, width)
        self.attention = SpatialAttention(layers)

    @kept
    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        return self.second(self.attention(self.first(self.pool(x), rngs)), rngs)


class UpBlock(nnx.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, config: SAUNetConfig, layers: Layers, channels_in: int, width: int):
        self.up = layers.up_conv(channels_in, width, 3, cut=(0, 1))
        self.block = DropConvBlock(config, layers, 2 * width, width)

    def __call__(self, x: Array, skip: Array, rngs: nnx.Rngs | None = None) -> Array:
        return self.block(jnp.concatenate([self.up(x), skip], axis=-1), rngs)


class SAUNet(Network):
    """SA-UNet (Guo et al. 2020, arXiv 2004.03696).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: SAUNetConfig

    def __init__(self, config: SAUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum)
        widths, last = config.widths, len(config.widths) - 1
        self.encoder = nnx.List(
            [DropConvBlock(config, layers, config.in_channels, widths[0])]
            + [DownBlock(config, layers, widths[i - 1], widths[i]) for i in range(1, last)]
        )
        self.bottleneck = Bottleneck(config, layers, widths[-2], widths[-1])
        self.decoder = nnx.List([UpBlock(config, layers, widths[i + 1], widths[i]) for i in reversed(range(last))])
        self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels).

        In training mode, `rngs` has a stream "dropout" for DropBlock's squares.
        """
        check_image(self.config.graph, image.shape)
        x, skips = image, []
        for block in self.encoder:
            x = block(x, rngs)
            skips.append(x)
        x = self.bottleneck(x, rngs)
        for up in self.decoder:
            x = up(x, skips.pop(), rngs)
        return self.head(x)
