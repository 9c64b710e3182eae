"""The staged U-Net in Flax NNX. `unet_torch/families/staged_unet.py` is the same in PyTorch.

The staged U-Net: every stage has a kernel, a stride and a depth of its own, on every axis.

    stem ▶ encoder.0 ─────────── skip ─────────▶ decoder.1 ─▶ (last) ─▶ head
             └ shrink ▶ encoder.1 ─── skip ──▶ decoder.0 ─▶ side.0 ┘ up
                          └ shrink ▶ encoder.2 ┘ up

    stage: several blocks, each a convolution, norm, activation; or a residual block, that is
           activation(conv · norm · activation · conv · norm + shortcut), the shortcut a 1x1 convolution where need be
    shrink: the stride of the stage's first block, or max-pooling before it
    up: a transposed convolution that paints windows of the stride's size, or nearest neighbours and a 2x2 convolution

This one network is nnU-Net's PlainConvUNet and ResidualEncoderUNet (Isensee et al. 2021, arXiv 1904.08128, and 2024,
arXiv 2404.09556), MONAI's DynUNet and BasicUNet, mateuszbuda's brain-segmentation U-Net and the widespread Keras U-Net;
`unet_spec.sources` reads their weights. The sides are the heads of deep supervision, which serve training only.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import BatchNorm, Identity, kept
from unet_jax.convolution import Conv
from unet_jax.families.layers import NearestUpsample, pad_end
from unet_jax.network import Loss, Network
from unet_jax.windows import UpConv, max_pool
from unet_spec.families import StagedUNetConfig
from unet_spec.families.staged_unet import Sizes, stages_of
from unet_spec.geometry import check_image


class StageLayers:
    """Makes the layers of one network; kernels and strides are given per axis."""

    def __init__(self, config: StagedUNetConfig, dtype: DTypeLike):
        self.config, self.dims, self.dtype = config, config.spatial_dims, dtype
        self.ones = (1,) * config.spatial_dims
        self.rngs = nnx.Rngs(0)  # the layers ask for one; no number is drawn from it

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes,
        stride: Sizes | None = None,
        bias: bool = True,
        pad: Sizes | None = None,
    ) -> Conv:
        """A convolution; `pad` zeros a side, half of the kernel unless given."""
        pad = tuple(k // 2 for k in kernel) if pad is None else pad
        return Conv(
            channels_in,
            channels_out,
            kernel,
            stride or self.ones,
            padding=[(p, p) for p in pad],
            use_bias=bias,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )

    def up_conv(self, channels_in: int, channels_out: int, stride: Sizes) -> UpConv:
        """A transposed convolution with windows as large as the stride."""
        return UpConv(channels_in, channels_out, stride, self.rngs, self.dtype, self.config.up_bias)

    def norm(self, features: int) -> nnx.Module:
        """The normalisation that the config names."""
        config = self.config
        match config.norm:
            case "batch":
                return BatchNorm(features, config.norm_eps, config.norm_momentum, self.dtype)
            case "instance":
                return nnx.InstanceNorm(
                    features,
                    epsilon=config.norm_eps,
                    use_fast_variance=False,
                    param_dtype=self.dtype,
                    rngs=self.rngs,
                )
        return Identity()

    def act(self) -> LeakyReLU:
        """The activation that the config names."""
        return LeakyReLU(self.config.slope if self.config.activation == "leaky_relu" else 0.0)


class LeakyReLU(nnx.Module):
    """x where x ≥ 0, else slope · x; a slope of 0 is ReLU."""

    def __init__(self, slope: float):
        self.slope = slope

    def __call__(self, x: Array) -> Array:
        return jax.nn.leaky_relu(x, self.slope) if self.slope else jax.nn.relu(x)


class Pool(nnx.Module):
    """Maximum or average over windows that touch."""

    def __init__(self, window: Sizes, average: bool):
        self.window, self.average = window, average

    def __call__(self, x: Array) -> Array:
        return nnx.avg_pool(x, self.window, self.window) if self.average else max_pool(x, self.window)


class ConvBlock(nnx.Module):
    """Convolution, norm, activation."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes | None = None):
        self.conv = layers.conv(channels_in, width, kernel, stride, layers.config.conv_bias)
        self.norm = layers.norm(width)
        self.act = layers.act()

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act(self.norm(self.conv(x)))


class Shortcut(nnx.Module):
    """What is added to a residual block's output: its input, brought to that output's size and width."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, stride: Sizes):
        averages = layers.config.residual == "pool" and stride != layers.ones
        strided = layers.ones if layers.config.residual == "pool" else stride
        projects = channels_in != width or strided != layers.ones
        self.pool = Pool(stride, average=True) if averages else Identity()
        self.conv = layers.conv(channels_in, width, layers.ones, strided, False) if projects else Identity()
        self.norm = layers.norm(width) if projects else Identity()

    def __call__(self, x: Array) -> Array:
        return self.norm(self.conv(self.pool(x)))


class ResidualBlock(nnx.Module):
    """Two convolutions with norms; the shortcut is added before the last activation."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes | None = None):
        self.block1 = ConvBlock(layers, channels_in, width, kernel, stride)
        self.conv2 = layers.conv(width, width, kernel, None, layers.config.conv_bias)
        self.norm2 = layers.norm(width)
        self.shortcut = Shortcut(layers, channels_in, width, stride or layers.ones)
        self.act2 = layers.act()

    @kept
    def __call__(self, x: Array) -> Array:
        return self.act2(self.norm2(self.conv2(self.block1(x))) + self.shortcut(x))


class Stage(nnx.Module):
    """A stage of the encoder: shrinks its input, then several blocks."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes, depth: int):
        pools = layers.config.downsampling == "max" and stride != layers.ones
        block = ConvBlock if layers.config.residual == "none" else ResidualBlock
        self.pool = Pool(stride, average=False) if pools else Identity()
        self.blocks = nnx.List(
            [
                block(layers, width if k else channels_in, width, kernel, layers.ones if k or pools else stride)
                for k in range(depth)
            ]
        )

    def __call__(self, x: Array) -> Array:
        x = self.pool(x)
        for block in self.blocks:
            x = block(x)
        return x


class UpStage(nnx.Module):
    """A stage of the decoder: enlarges its input, joins it with the skip, then several convolutions."""

    def __init__(
        self,
        layers: StageLayers,
        channels_in: int,
        up_width: int,
        skip_width: int,
        width: int,
        kernel: Sizes,
        stride: Sizes,
        depth: int,
    ):
        self.up_first = layers.config.first == "up"
        self.interpolates = layers.config.upsampling == "nearest"
        self.nearest = NearestUpsample(2) if self.interpolates else Identity()
        if self.interpolates:
            self.up = layers.conv(channels_in, up_width, (2,) * layers.dims, pad=(0,) * layers.dims)
        else:
            self.up = layers.up_conv(channels_in, up_width, stride)
        self.up_act = layers.act() if self.interpolates else Identity()
        joined = up_width + skip_width
        self.blocks = nnx.List([ConvBlock(layers, width if k else joined, width, kernel) for k in range(depth)])

    def __call__(self, x: Array, skip: Array) -> Array:
        x = self.nearest(x)
        x = self.up_act(self.up(pad_end(x) if self.interpolates else x))
        x = jnp.concatenate([x, skip] if self.up_first else [skip, x], axis=-1)
        for block in self.blocks:
            x = block(x)
        return x


class StagedUNet(Network):
    """A U-Net by stages: nnU-Net's networks and their relatives.

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: StagedUNetConfig

    def __init__(self, config: StagedUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers, stages, widths = StageLayers(config, dtype), stages_of(config), config.widths
        if config.stem:
            self.stem = ConvBlock(layers, config.in_channels, widths[0], stages.kernels[0])
        rows = zip(stages.inputs, widths, stages.kernels, stages.strides, stages.depths, strict=True)
        self.encoder = nnx.List([Stage(layers, *row) for row in rows])
        below = (widths[-1], *stages.decoder_widths[:-1])
        rows = zip(
            below,
            stages.up_widths,
            widths[-2::-1],
            stages.decoder_widths,
            stages.decoder_kernels,
            stages.strides[:0:-1],
            stages.decoder_depths,
            strict=True,
        )
        self.decoder = nnx.List([UpStage(layers, *row) for row in rows])
        self.side_stages = stages.side_stages
        self.sides = nnx.List(
            [layers.conv(stages.decoder_widths[i], config.out_channels, layers.ones) for i in self.side_stages]
        )
        width = stages.decoder_widths[-1]
        if config.last_width:
            self.last = layers.conv(width, config.last_width, (3,) * layers.dims)
            self.last_act = layers.act()
            width = config.last_width
        self.head = layers.conv(width, config.out_channels, layers.ones)
        self.initialize(seed, dtype)

    def loss(self, of: Loss, image: Array, labels: Array, weights: Array | None, rngs: nnx.Rngs) -> Array:
        """The sum of `of` every head's logits, weighted by 1, 1/2, 1/4 … from the finest, over the sum of these weights
        (nnU-Net's deep supervision); coarser heads see every n-th label."""
        total, share, scale = 0.0, 1.0, 0.0
        for logits in reversed(self.outputs(image)):
            steps = [slice(None, None, n // m) for n, m in zip(labels.shape[1:], logits.shape[1:-1], strict=True)]
            at = (slice(None), *steps)
            total = total + share * of(logits, labels[at], None if weights is None else weights[at])
            scale, share = scale + share, share / 2
        return total / scale  # type: ignore[return-value]

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        return self._finish(self._decoded(image)[-1])

    def outputs(self, image: Array) -> list[Array]:
        """The logits of every head, the coarsest first; each stage's at its own size."""
        maps = self._decoded(image)
        sides = [side(maps[i]) for i, side in zip(self.side_stages, self.sides, strict=True)]
        return [*sides, self._finish(maps[-1])]

    def _decoded(self, image: Array) -> list[Array]:
        """What each stage of the decoder gives."""
        check_image(self.config.graph, image.shape)
        x, skips, maps = self.stem(image) if self.config.stem else image, [], []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
            maps.append(x)
        return maps

    def _finish(self, x: Array) -> Array:
        return self.head(self.last_act(self.last(x)) if self.config.last_width else x)
