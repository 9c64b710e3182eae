"""The U-Net on a ResNet in Flax NNX. `unet_torch/families/resnet_unet.py` is the same in PyTorch.

A U-Net whose encoder is a ResNet (He et al. 2016, arXiv 1512.03385), as segmentation_models.pytorch has it.

    image ─▶ stem 7x7/2 ─────── skip ───────────────────────────▶ decoder.3 ─▶ decoder.4 ─▶ head 3x3
               └ pool 3/2 ▶ layers.0 ── skip ────────▶ decoder.2 ──┘ up          ┘ up, no skip
                              └▶ layers.1 ─ skip ▶ decoder.1 ┘ up
                                   └▶ layers.2 ─▶ decoder.0 ┘ up
                                        └▶ layers.3 ┘ up

    layers: residual blocks, "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1, four times as wide)
    decoder: twice the size (nearest neighbour), [upsampled, skip], twice 3x3 convolution, batch norm, ReLU

The pooling's zero padding is a Pad of its own: behind a ReLU, a zero is never larger than what is there.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, Identity, kept
from unet_jax.families.layers import Layers, NearestUpsample, WindowMaxPool
from unet_jax.network import Network
from unet_spec.families import ResNetUNetConfig
from unet_spec.families.resnet_unet import block_convs
from unet_spec.geometry import check_image


class Stem(nnx.Module):
    """7x7 convolution with stride 2, batch norm, ReLU; `pooled` halves what comes out."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.conv = layers.conv(channels_in, width, 7, 2, bias=False)
        self.norm = layers.batch_norm(width)
        self.act = Activation("relu")
        self.pool = WindowMaxPool(2, 3, 2)

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))

    def pooled(self, x: Array) -> Array:
        return self.pool(jnp.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]))


class Shortcut(nnx.Module):
    """1x1 convolution with the block's stride, batch norm."""

    def __init__(self, layers: Layers, channels_in: int, width: int, stride: int):
        self.conv = layers.conv(channels_in, width, 1, stride, bias=False)
        self.norm = layers.batch_norm(width)

    def __call__(self, x: Array) -> Array:
        return self.norm(self.conv(x))


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with batch norms; the shortcut is added before the last ReLU."""

    def __init__(self, layers: Layers, channels_in: int, inner: int, stride: int):
        (width, kernel1, stride1), (out, kernel2, stride2) = block_convs("basic", inner, stride)
        self.conv1 = layers.conv(channels_in, width, kernel1, stride1, bias=False)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, out, kernel2, stride2, bias=False)
        self.norm2 = layers.batch_norm(out)
        projects = stride != 1 or channels_in != out
        self.shortcut = Shortcut(layers, channels_in, out, stride) if projects else Identity()
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array) -> Array:
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolution with batch norms, four times as wide at the end; as BasicBlock otherwise."""

    def __init__(self, layers: Layers, channels_in: int, inner: int, stride: int):
        (width, kernel1, stride1), (_, kernel2, stride2), (out, kernel3, stride3) = block_convs(
            "bottleneck", inner, stride
        )
        self.conv1 = layers.conv(channels_in, width, kernel1, stride1, bias=False)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width, kernel2, stride2, bias=False)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")
        self.conv3 = layers.conv(width, out, kernel3, stride3, bias=False)
        self.norm3 = layers.batch_norm(out)
        projects = stride != 1 or channels_in != out
        self.shortcut = Shortcut(layers, channels_in, out, stride) if projects else Identity()
        self.act3 = Activation("relu")

    @kept
    def __call__(self, x: Array) -> Array:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        return self.act3(self.norm3(self.conv3(y)) + self.shortcut(x))


class DecoderBlock(nnx.Module):
    """Twice the size, joined with the skip (where there is one) as [upsampled, skip]; twice convolution, norm, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.up = NearestUpsample(2)
        self.conv1 = layers.conv(channels_in, width, bias=False)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width, bias=False)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array, skip: Array | None) -> Array:
        x = self.up(x)
        if skip is not None:
            x = jnp.concatenate([x, skip], axis=-1)
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))


class ResNetUNet(Network):
    """A U-Net on a ResNet, as segmentation_models.pytorch has it.

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: ResNetUNetConfig

    def __init__(self, config: ResNetUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(2, dtype, config.norm_eps, config.norm_momentum)
        block, widths = BasicBlock if config.block == "basic" else Bottleneck, config.skip_widths
        self.stem = Stem(layers, config.in_channels, config.width)
        self.layers = nnx.List(
            [
                nnx.List(
                    [
                        block(layers, widths[i + 1] if k else widths[i], config.width * 2**i, 2 if i and not k else 1)
                        for k in range(depth)
                    ]
                )
                for i, depth in enumerate(config.depths)
            ]
        )
        inputs = [x + skip for x, skip in zip((widths[-1], *config.decoder), (*widths[-2::-1], 0), strict=False)]
        self.decoder = nnx.List(
            [DecoderBlock(layers, n, width) for n, width in zip(inputs, config.decoder, strict=True)]
        )
        self.head = layers.conv(config.decoder[-1], config.out_channels)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, H, W, out_channels) of an image (N, H, W, in_channels)."""
        check_image(self.config.graph, image.shape)
        x = self.stem(image)
        skips = [x]
        x = self.stem.pooled(x)
        for layer in self.layers:
            for block in layer:
                x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop() if skips else None)
        return self.head(x)
