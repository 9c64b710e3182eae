"""MultiResUNet in Flax NNX. `unet_torch/families/multiresunet.py` is the same in PyTorch.

MultiResUNet (Ibtehaz and Rahman 2019, arXiv 1902.04049).

    encoder.0 ── paths.0 (4 steps) ──▶ decoder.3 ─▶ head       encoder, decoder: MultiRes blocks
      └ pool ▶ encoder.1 ── paths.1 (3) ─▶ ... ┘ up            paths: residual 3x3 convolutions on the skips

A MultiRes block: three 3x3 convolutions in a row, whose outputs are joined (as of 3x3, 5x5 and 7x7 windows), plus a 1x1
convolution of the block's input. Of W = α · U channels, α = 1.67, they have W/6, W/3 and W/2.

Follows the authors' Keras code: convolutions without bias, each with a batch norm without scale; full batch norms after
joining and after adding; the head is normalised too (we leave out its sigmoid: the output are logits). The paper does
not mention these norms. Batch norm as Keras has it: eps 1e-3, momentum 0.99.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, MaxPool, kept
from unet_jax.families.layers import Layers, center_crop
from unet_jax.network import Network
from unet_spec.families import MultiResUNetConfig
from unet_spec.families.multiresunet import block_widths
from unet_spec.geometry import check_image


class MultiResBlock(nnx.Module):
    """Three convolutions in a row, their outputs joined, plus a 1x1 convolution of the input."""

    def __init__(self, layers: Layers, channels_in: int, widths: tuple[int, int, int]):
        a, b, c = widths
        self.shortcut = layers.conv(channels_in, a + b + c, 1, bias=False)
        self.shortcut_norm = layers.shift_norm(a + b + c)
        self.conv3 = layers.conv(channels_in, a, bias=False)
        self.conv3_norm = layers.shift_norm(a)
        self.conv3_act = Activation("relu")
        self.conv5 = layers.conv(a, b, bias=False)
        self.conv5_norm = layers.shift_norm(b)
        self.conv5_act = Activation("relu")
        self.conv7 = layers.conv(b, c, bias=False)
        self.conv7_norm = layers.shift_norm(c)
        self.conv7_act = Activation("relu")
        self.norm1 = layers.batch_norm(a + b + c)
        self.act = Activation("relu")
        self.norm2 = layers.batch_norm(a + b + c)

    @kept
    def __call__(self, x: Array) -> Array:
        x3 = self.conv3_act(self.conv3_norm(self.conv3(x)))
        x5 = self.conv5_act(self.conv5_norm(self.conv5(x3)))
        x7 = self.conv7_act(self.conv7_norm(self.conv7(x5)))
        joined = self.norm1(jnp.concatenate([center_crop(x3, x7), center_crop(x5, x7), x7], axis=-1))
        shortcut = self.shortcut_norm(self.shortcut(center_crop(x, x7)))
        return self.norm2(self.act(shortcut + joined))


class DownBlock(MultiResBlock):
    """Half the size, then a block."""

    def __init__(self, layers: Layers, channels_in: int, widths: tuple[int, int, int]):
        super().__init__(layers, channels_in, widths)
        self.pool = MaxPool(layers.dims)

    def __call__(self, x: Array) -> Array:
        return super().__call__(self.pool(x))


class UpBlock(nnx.Module):
    """Twice the size, joined with the skip as [upsampled, skip], then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, widths: tuple[int, int, int]):
        self.up = layers.up_conv(channels_in, width)
        self.block = MultiResBlock(layers, 2 * width, widths)

    def __call__(self, x: Array, skip: Array) -> Array:
        x = self.up(x)
        return self.block(jnp.concatenate([x, center_crop(skip, x)], axis=-1))


class PathStep(nnx.Module):
    """A 3x3 convolution plus a 1x1 convolution of the same input."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.shortcut = layers.conv(channels_in, width, 1, bias=False)
        self.shortcut_norm = layers.shift_norm(width)
        self.conv = layers.conv(channels_in, width, bias=False)
        self.conv_norm = layers.shift_norm(width)
        self.conv_act = Activation("relu")
        self.act = Activation("relu")
        self.norm = layers.batch_norm(width)

    @kept
    def __call__(self, x: Array) -> Array:
        y = self.conv_act(self.conv_norm(self.conv(x)))
        shortcut = self.shortcut_norm(self.shortcut(center_crop(x, y)))
        return self.norm(self.act(shortcut + y))


class MultiResUNet(Network):
    """MultiResUNet (Ibtehaz and Rahman 2019, arXiv 1902.04049).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: MultiResUNetConfig

    def __init__(self, config: MultiResUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum, config.padding == "valid")
        widths, last = config.widths, len(config.widths) - 1
        parts = [block_widths(width, config.alpha) for width in widths]
        out = [sum(part) for part in parts]
        self.encoder = nnx.List(
            [MultiResBlock(layers, config.in_channels, parts[0])]
            + [DownBlock(layers, out[i - 1], parts[i]) for i in range(1, last + 1)]
        )
        self.paths = nnx.List(
            [
                nnx.List([PathStep(layers, widths[i] if k else out[i], widths[i]) for k in range(last - i)])
                for i in range(last)
            ]
        )
        self.decoder = nnx.List([UpBlock(layers, out[i + 1], widths[i], parts[i]) for i in reversed(range(last))])
        self.head = layers.conv(out[0], config.out_channels, 1, bias=False)
        self.head_norm = layers.shift_norm(config.out_channels)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        check_image(self.config.graph, image.shape)
        x, skips = self.encoder[0](image), []
        for down, path in zip(self.encoder[1:], self.paths, strict=True):
            skip = x
            for step in path:
                skip = step(skip)
            skips.append(skip)
            x = down(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head_norm(self.head(x))
