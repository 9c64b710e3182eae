"""MONAI's UNet in Flax NNX. `unet_torch/families/monai_unet.py` is the same in PyTorch.

MONAI's UNet (monai.networks.nets.UNet), after Kerfoot et al. 2018 (doi 10.1007/978-3-030-12029-0_40).

    encoder.0 ──────── skip ───────▶ decoder.1 = logits     encoder.i: a strided convolution, norm, activation; with
      └▶ encoder.1 ─── skip ─▶ decoder.0 ┘                    residual units, several of them and a shortcut added
           └▶ encoder.2 (stride 1) ┘                        decoder.j: a transposed convolution of [skip, below], norm,
                                                              activation; with residual units, one more of these
Its peculiarities, kept: the first convolution is strided, so no skip has the image's size; the shortcut of a strided
unit is a convolution with the unit's kernel, otherwise a 1x1 convolution or nothing; nothing follows the sum; what
leaves the last transposed convolution (or the unit after it) are the logits.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, Identity, kept
from unet_jax.families.layers import Layers
from unet_jax.network import Network
from unet_spec.families import MonaiUNetConfig
from unet_spec.families.monai_unet import up_cut
from unet_spec.geometry import check_image


def norm(layers: Layers, config: MonaiUNetConfig, features: int) -> nnx.Module:
    """The normalisation that the config names."""
    match config.norm:
        case "batch":
            return layers.batch_norm(features)
        case "affine":
            return nnx.InstanceNorm(
                features, epsilon=config.norm_eps, use_fast_variance=False, param_dtype=layers.dtype, rngs=layers.rngs
            )
    return layers.instance_norm(features)


def act(layers: Layers, config: MonaiUNetConfig) -> nnx.Module:
    """The activation that the config names."""
    return layers.prelu() if config.activation == "prelu" else Activation("relu")


class ConvUnit(nnx.Module):
    """Convolution, norm, activation; the `last` one of a network is a convolution only."""

    def __init__(
        self, layers: Layers, config: MonaiUNetConfig, channels_in: int, width: int, stride: int, last: bool = False
    ):
        self.conv = layers.conv(channels_in, width, config.kernel, stride, bias=config.bias)
        self.norm = Identity() if last else norm(layers, config, width)
        self.act = Identity() if last else act(layers, config)

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))


class ResidualUnit(nnx.Module):
    """Several units, the first with the stride, and a shortcut that is added."""

    def __init__(self, layers: Layers, config: MonaiUNetConfig, channels_in: int, width: int, stride: int):
        self.units = nnx.List(
            [
                ConvUnit(layers, config, width if k else channels_in, width, 1 if k else stride)
                for k in range(config.units)
            ]
        )
        kernel = 1 if stride == 1 else config.kernel
        projects = stride != 1 or channels_in != width
        self.shortcut = layers.conv(channels_in, width, kernel, stride, bias=config.bias) if projects else Identity()

    @kept
    def __call__(self, x: Array) -> Array:
        y = x
        for unit in self.units:
            y = unit(y)
        return y + self.shortcut(x)


class UpUnit(nnx.Module):
    """Transposed convolution, norm, activation; the `last` one of a network is a convolution only."""

    def __init__(self, layers: Layers, config: MonaiUNetConfig, channels_in: int, width: int, stride: int, last: bool):
        cut = up_cut(config.up_kernel, stride)
        self.conv = layers.up_conv(channels_in, width, config.up_kernel, stride, cut, config.bias)
        self.norm = Identity() if last else norm(layers, config, width)
        self.act = Identity() if last else act(layers, config)

    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))


class DecoderBlock(nnx.Module):
    """[skip, what comes up] enlarged; with residual units, a unit and its input added."""

    def __init__(self, layers: Layers, config: MonaiUNetConfig, channels_in: int, width: int, stride: int, top: bool):
        self.residual = config.units > 0
        self.up = UpUnit(layers, config, channels_in, width, stride, last=top and not self.residual)
        if self.residual:
            self.unit = ConvUnit(layers, config, width, width, 1, last=top)

    @kept
    def __call__(self, x: Array, skip: Array) -> Array:
        x = self.up(jnp.concatenate([skip, x], axis=-1))
        return self.unit(x) + x if self.residual else x


class MonaiUNet(Network):
    """MONAI's UNet.

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: MonaiUNetConfig

    def __init__(self, config: MonaiUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum)
        widths, block = config.widths, ResidualUnit if config.units else ConvUnit
        rows = zip((config.in_channels, *widths[:-1]), widths, (*config.strides, 1), strict=True)
        self.encoder = nnx.List([block(layers, config, *row) for row in rows])
        outs = (*reversed(widths[:-2]), config.out_channels)
        below = (widths[-1], *outs[:-1])  # what each block of the decoder meets besides its skip
        rows = zip(widths[-2::-1], below, outs, reversed(config.strides), strict=True)
        self.decoder = nnx.List(
            [
                DecoderBlock(layers, config, skip + x, out, stride, top=j == len(config.strides) - 1)
                for j, (skip, x, out, stride) in enumerate(rows)
            ]
        )
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        check_image(self.config.graph, image.shape)
        x, skips = image, []
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x
