"""Attention U-Net in Flax NNX. `unet_torch/families/attention_unet.py` is the same in PyTorch.

Attention U-Net (Oktay et al. 2018, arXiv 1804.03999), as MONAI 1.5 has it (monai.networks.nets.AttentionUnet).

    encoder.0 ────────── skip ─▶ gate ─▶ decoder.1 ─▶ head      gate: skip · σ(psi(ReLU(w_g · g + w_x · skip)))
      └ stride 2 ▶ encoder.1 ──▶ gate ─▶ decoder.0 ┘ up = g     all three 1x1 convolutions with batch norm
                     └ stride 2 ▶ encoder.2 ───────┘ up = g

Departures of that implementation from the paper: the gating signal is the upsampled map, so both have one size and the
gate is not resampled; strided convolutions instead of pooling; 3x3 transposed convolutions with batch norm and ReLU;
the decoder merges [gated skip, upsampled] by one convolution, an instance norm without scale and shift and a PReLU.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, kept
from unet_jax.families.layers import Layers, Sigmoid
from unet_jax.network import Network
from unet_spec.families import AttentionUNetConfig
from unet_spec.geometry import check_image


class EncoderBlock(nnx.Module):
    """Twice: 3x3 convolution, batch norm, ReLU. The first convolution has the stride."""

    def __init__(self, layers: Layers, channels_in: int, width: int, stride: int):
        self.conv1 = layers.conv(channels_in, width, stride=stride)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array) -> Array:
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))


class AttentionGate(nnx.Module):
    """Weighs every pixel of the skip by one number in 0 … 1, which the skip and the gating signal decide together."""

    def __init__(self, layers: Layers, width: int, inner: int):
        self.w_g = layers.conv(width, inner, 1)
        self.norm_g = layers.batch_norm(inner)
        self.w_x = layers.conv(width, inner, 1)
        self.norm_x = layers.batch_norm(inner)
        self.act = Activation("relu")
        self.psi = layers.conv(inner, 1, 1)
        self.norm_psi = layers.batch_norm(1)
        self.sigmoid = Sigmoid()

    def __call__(self, skip: Array, gating: Array) -> Array:
        x = self.act(self.norm_g(self.w_g(gating)) + self.norm_x(self.w_x(skip)))
        return skip * self.sigmoid(self.norm_psi(self.psi(x)))


class DecoderBlock(nnx.Module):
    """Twice the size; the skip behind its gate; both joined as [skip, upsampled] and merged by one convolution."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.up = layers.up_conv(channels_in, width, 3, cut=(1, 0))
        self.up_norm = layers.batch_norm(width)
        self.up_act = Activation("relu")
        self.gate = AttentionGate(layers, width, max(width // 2, 1))
        self.merge = layers.conv(2 * width, width)
        self.merge_norm = layers.instance_norm(width)
        self.merge_act = layers.prelu()

    @kept
    def __call__(self, x: Array, skip: Array) -> Array:
        x = self.up_act(self.up_norm(self.up(x)))
        x = jnp.concatenate([self.gate(skip, x), x], axis=-1)
        return self.merge_act(self.merge_norm(self.merge(x)))


class AttentionUNet(Network):
    """Attention U-Net (Oktay et al. 2018, arXiv 1804.03999), as MONAI has it.

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: AttentionUNetConfig

    def __init__(self, config: AttentionUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum)
        widths = config.widths
        self.encoder = nnx.List(
            [EncoderBlock(layers, config.in_channels, widths[0], 1)]
            + [EncoderBlock(layers, widths[i - 1], widths[i], 2) for i in range(1, len(widths))]
        )
        self.decoder = nnx.List(
            [DecoderBlock(layers, widths[i + 1], widths[i]) for i in reversed(range(len(widths) - 1))]
        )
        self.head = layers.conv(widths[0], config.out_channels, 1)
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
        return self.head(x)
