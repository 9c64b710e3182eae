"""TransUNet in Flax NNX. `unet_torch/families/transunet.py` is the same in PyTorch.

TransUNet (Chen et al. 2021, arXiv 2102.04306), R50-ViT-B/16: a ResNet, a transformer on its map, a decoder with
skips.

    image ─▶ root 7x7/2 ── skip ───────────────────────────────────────▶ decoder.2 ─▶ decoder.3 ─▶ head
               └ pool ▶ stages.0 ── skip ──────────────────▶ decoder.1 ──┘ up
                          └▶ stages.1 ── skip ─▶ decoder.0 ──┘ up
                               └▶ stages.2 ─▶ patch ─▶ + position ─▶ layers ─▶ norm ─▶ more ┘ up

    stages: bottlenecks of weight-standardised convolutions with group norm (3, 4 and 9 of them)
    layers: x + attention(norm(x)), then x + mlp(norm(x)); every pixel of the 1/16 map is a token
    decoder: twice the size (bilinear, aligned corners), joined with the skip, twice 3x3 convolution, batch norm, ReLU

Follows the authors' code. Its peculiarities, kept: the pooling after the root has no padding, so the map is one pixel
short, and one row and column of zeros completes it where it is a skip; the norms of projected shortcuts have a group
for each channel. Added: at another size than `grid`, the position vectors are interpolated at run time (the authors do
that once, on loading). A grey image is one channel here, not three copies of it. The paper's figure has no norms in the
decoder.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, Upsample, kept
from unet_jax.families.layers import Layers, PositionEmbedding, WindowMaxPool, pad_end
from unet_jax.network import Network
from unet_spec.families import TransUNetConfig
from unet_spec.families.transunet import GROUP_EPS, LAYER_EPS, PROJECTION_EPS
from unet_spec.geometry import check_image


class Root(nnx.Module):
    """The stem of the ResNet: 7x7 convolution with stride 2, group norm, ReLU. Its pooling is called by the network."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        self.conv = layers.std_conv(config.in_channels, config.width, 7, stride=2)
        self.norm = layers.group_norm(config.width, config.groups, GROUP_EPS)
        self.act = Activation("relu")
        self.pool = WindowMaxPool(layers.dims, 3, 2)

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))


class ResidualUnit(nnx.Module):
    """1x1, 3x3 and 1x1 convolution, standardised, with group norms; plus the input, projected where it must be."""

    def __init__(self, config: TransUNetConfig, layers: Layers, channels_in: int, width: int, stride: int):
        inner, groups = width // 4, config.groups
        self.conv1 = layers.std_conv(channels_in, inner, 1)
        self.norm1 = layers.group_norm(inner, groups, GROUP_EPS)
        self.act1 = Activation("relu")
        self.conv2 = layers.std_conv(inner, inner, 3, stride)
        self.norm2 = layers.group_norm(inner, groups, GROUP_EPS)
        self.act2 = Activation("relu")
        self.conv3 = layers.std_conv(inner, width, 1)
        self.norm3 = layers.group_norm(width, groups, GROUP_EPS)
        self.act3 = Activation("relu")
        self.projects = stride > 1 or channels_in != width
        if self.projects:
            self.project = layers.std_conv(channels_in, width, 1, stride)
            self.project_norm = layers.group_norm(width, width, PROJECTION_EPS)

    @kept
    def __call__(self, x: Array) -> Array:
        shortcut = self.project_norm(self.project(x)) if self.projects else x
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.act3(shortcut + self.norm3(self.conv3(x)))


class DotProduct(nnx.Module):
    """softmax(q · kᵀ / sqrt(d)) · v for each head of d features, over maps (N, H, W, C) whose pixels are the tokens."""

    def __init__(self, heads: int):
        self.heads = heads

    def __call__(self, query: Array, key: Array, value: Array) -> Array:
        q, k, v = (
            x.reshape(x.shape[0], math.prod(x.shape[1:-1]), self.heads, x.shape[-1] // self.heads)
            for x in (query, key, value)
        )
        precision = jax.lax.Precision.HIGHEST
        scores = jnp.einsum("nqhd,nkhd->nhqk", q / q.shape[-1] ** 0.5, k, precision=precision)
        mixed = jnp.einsum("nhqk,nkhd->nqhd", jax.nn.softmax(scores, axis=-1), v, precision=precision)
        return mixed.reshape(query.shape)


class Attention(nnx.Module):
    """Multi-head self-attention over all pixels of a map."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        self.query = layers.linear(config.hidden, config.hidden)
        self.key = layers.linear(config.hidden, config.hidden)
        self.value = layers.linear(config.hidden, config.hidden)
        self.product = DotProduct(config.heads)
        self.out = layers.linear(config.hidden, config.hidden)

    def __call__(self, x: Array) -> Array:
        return self.out(self.product(self.query(x), self.key(x), self.value(x)))


class MLP(nnx.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        self.fc1 = layers.linear(config.hidden, config.mlp)
        self.act = Activation("gelu")
        self.drop1 = nnx.Dropout(config.dropout)
        self.fc2 = layers.linear(config.mlp, config.hidden)
        self.drop2 = nnx.Dropout(config.dropout)

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        x = self.drop1(self.act(self.fc1(x)), rngs=rngs)
        return self.drop2(self.fc2(x), rngs=rngs)


class TransformerLayer(nnx.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        self.norm1 = layers.layer_norm(config.hidden, LAYER_EPS)
        self.attention = Attention(config, layers)
        self.norm2 = layers.layer_norm(config.hidden, LAYER_EPS)
        self.mlp = MLP(config, layers)

    @kept
    def __call__(self, x: Array, rngs: nnx.Rngs | None = None) -> Array:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x), rngs)


class ConvNormAct(nnx.Module):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.conv = layers.conv(channels_in, width, bias=False)
        self.norm = layers.batch_norm(width)
        self.act = Activation("relu")

    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))


class DecoderBlock(nnx.Module):
    """Twice the size, joined with the skip (if any) as [upsampled, skip]; twice 3x3 convolution, batch norm, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.up = Upsample(layers.dims, align_corners=True)
        self.conv1 = layers.conv(channels_in, width, bias=False)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width, bias=False)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array, skip: Array | None = None) -> Array:
        x = self.up(x)
        x = x if skip is None else jnp.concatenate([x, skip], axis=-1)
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))


class TransUNet(Network):
    """TransUNet (Chen et al. 2021, arXiv 2102.04306).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: TransUNetConfig

    def __init__(self, config: TransUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum)
        self.root = Root(config, layers)
        self.stages, channels = nnx.List([]), [config.width]
        for i, units in enumerate(config.units):
            width = config.width * 4 * 2**i
            ins = [channels[-1], *[width] * (units - 1)]
            stage = [ResidualUnit(config, layers, c, width, 2 if i and not k else 1) for k, c in enumerate(ins)]
            self.stages.append(nnx.List(stage))
            channels.append(width)
        self.patch = layers.conv(channels.pop(), config.hidden, 1)
        self.position = PositionEmbedding(config.hidden, config.grid, dtype)
        self.dropout = nnx.Dropout(config.dropout)
        self.layers = nnx.List([TransformerLayer(config, layers) for _ in range(config.layers)])
        self.norm = layers.layer_norm(config.hidden, LAYER_EPS)
        self.more = ConvNormAct(layers, config.hidden, config.more)
        ins, skips = (config.more, *config.decoder), [*reversed(channels), 0]
        self.decoder = nnx.List(
            [DecoderBlock(layers, ins[i] + skips[i], width) for i, width in enumerate(config.decoder)]
        )
        self.head = layers.conv(config.decoder[-1], config.out_channels)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels).

        In training mode, `rngs` has a stream "dropout".
        """
        check_image(self.config.graph, image.shape)
        x = self.root(image)
        skips = [x]
        x = self.root.pool(x)
        for i, stage in enumerate(self.stages):
            for unit in stage:
                x = unit(x)
            skips.append(x if i else pad_end(x))
        skips.pop()
        x = self.dropout(self.position(self.patch(x)), rngs=rngs)
        for layer in self.layers:
            x = layer(x, rngs)
        x = self.more(self.norm(x))
        for block in self.decoder:
            x = block(x, skips.pop() if skips else None)
        return self.head(x)
