"""Attention U-Net in Flax NNX. `unet_torch/families/attention_unet.py` is the same in PyTorch.

For the figure and the departures from the paper, see `unet_spec/families/attention_unet.py`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unet_spec.families.attention_unet import AttentionUNetConfig

from ..network import Network
from ..nn.blocks import ConvBlock
from ..nn.layers import Layers
from ..nn.remat import remat_boundary
from ..registry import register
from ..shapes import Image, Logits


class AttentionGate(nnx.Module):
    """Multiplies every pixel of the skip by an attention coefficient in 0 … 1, computed from the skip and the gating
    signal."""

    def __init__(self, layers: Layers, width: int, inner: int):
        self.w_g = layers.conv(width, inner, 1)
        self.norm_g = layers.norm(inner)
        self.w_x = layers.conv(width, inner, 1)
        self.norm_x = layers.norm(inner)
        self.act = layers.act()
        self.psi = layers.conv(inner, 1, 1)
        self.norm_psi = layers.norm(1)
        self.sigmoid = layers.act("sigmoid")

    def __call__(
        self, skip: Float[Array, "n *spatial c"], gating: Float[Array, "n *spatial c"]
    ) -> Float[Array, "n *spatial c"]:
        x = self.act(self.norm_g(self.w_g(gating)) + self.norm_x(self.w_x(skip)))
        return skip * self.sigmoid(self.norm_psi(self.psi(x)))


class GatedUpBlock(nnx.Module):
    """Upsamples by 2, gates the skip, concatenates [skip, upsampled], and applies one convolution."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.up = layers.up_conv(channels_in, width, 3, cut=(1, 0))
        self.up_norm = layers.norm(width)
        self.up_act = layers.act()
        self.gate = AttentionGate(layers, width, max(width // 2, 1))
        self.merge = layers.conv(2 * width, width)
        self.merge_norm = layers.norm(width, "plain")
        self.merge_act = layers.act("prelu")

    @remat_boundary
    def __call__(self, x: Float[Array, "n *low c"], skip: Float[Array, "n *high k"]) -> Float[Array, "n *high k"]:
        x = self.up_act(self.up_norm(self.up(x)))
        x = jnp.concatenate([self.gate(skip, x), x], axis=-1)
        return self.merge_act(self.merge_norm(self.merge(x)))


@register(AttentionUNetConfig)
class AttentionUNet(Network):
    """Attention U-Net (Oktay et al. 2018, arXiv 1804.03999), as in MONAI. Arguments as for `UNet`."""

    config: AttentionUNetConfig

    def __init__(self, config: AttentionUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config, dtype)
        widths = config.widths
        self.encoder = nnx.List(
            [ConvBlock(layers, config.in_channels, widths[0])]
            + [ConvBlock(layers, widths[i - 1], widths[i], stride=2) for i in range(1, len(widths))]
        )
        self.decoder = nnx.List(
            [GatedUpBlock(layers, widths[i + 1], widths[i]) for i in reversed(range(len(widths) - 1))]
        )
        self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed, dtype)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        self.check(image)
        x, skips = image, []
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head(x)
