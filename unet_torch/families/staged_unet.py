"""The staged U-Net in PyTorch. `unet_jax/families/staged_unet.py` is the same in Flax.

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

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.families import StagedUNetConfig
from unet_spec.families.staged_unet import Sizes, stages_of
from unet_torch.blocks import BatchNorm
from unet_torch.families.layers import NearestUpsample, pad_end
from unet_torch.network import Loss, Network


class StageLayers:
    """Makes the layers of one network; kernels and strides are given per axis."""

    def __init__(self, config: StagedUNetConfig):
        self.config, self.dims = config, config.spatial_dims
        self.ones = (1,) * config.spatial_dims

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes,
        stride: Sizes | None = None,
        bias: bool = True,
        pad: Sizes | None = None,
    ) -> nn.Module:
        """A convolution; `pad` zeros a side, half of the kernel unless given."""
        cls = nn.Conv2d if self.dims == 2 else nn.Conv3d
        pad = tuple(k // 2 for k in kernel) if pad is None else pad
        return cls(channels_in, channels_out, kernel, stride or self.ones, pad, bias=bias)  # type: ignore[arg-type]

    def up_conv(self, channels_in: int, channels_out: int, stride: Sizes) -> nn.Module:
        """A transposed convolution with windows as large as the stride."""
        cls = nn.ConvTranspose2d if self.dims == 2 else nn.ConvTranspose3d
        return cls(channels_in, channels_out, stride, stride, bias=self.config.up_bias)  # type: ignore[arg-type]

    def norm(self, features: int) -> nn.Module:
        """The normalisation that the config names."""
        config = self.config
        match config.norm:
            case "batch":
                return BatchNorm(features, config.norm_eps, config.norm_momentum)
            case "instance":
                cls = nn.InstanceNorm2d if self.dims == 2 else nn.InstanceNorm3d
                return cls(features, config.norm_eps, affine=True)
        return nn.Identity()

    def act(self) -> nn.Module:
        """The activation that the config names."""
        return nn.LeakyReLU(self.config.slope) if self.config.activation == "leaky_relu" else nn.ReLU()


class Pool(nn.Module):
    """Maximum or average over windows that touch."""

    def __init__(self, window: Sizes, average: bool):
        super().__init__()
        self.window, self.average = window, average

    def forward(self, x: Tensor) -> Tensor:
        if len(self.window) == 2:
            return F.avg_pool2d(x, self.window) if self.average else F.max_pool2d(x, self.window)
        return F.avg_pool3d(x, self.window) if self.average else F.max_pool3d(x, self.window)


class ConvBlock(nn.Module):
    """Convolution, norm, activation."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes | None = None):
        super().__init__()
        self.conv = layers.conv(channels_in, width, kernel, stride, layers.config.conv_bias)
        self.norm = layers.norm(width)
        self.act = layers.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))


class Shortcut(nn.Module):
    """What is added to a residual block's output: its input, brought to that output's size and width."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, stride: Sizes):
        super().__init__()
        averages = layers.config.residual == "pool" and stride != layers.ones
        strided = layers.ones if layers.config.residual == "pool" else stride
        projects = channels_in != width or strided != layers.ones
        self.pool = Pool(stride, average=True) if averages else nn.Identity()
        self.conv = layers.conv(channels_in, width, layers.ones, strided, False) if projects else nn.Identity()
        self.norm = layers.norm(width) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.pool(x)))


class ResidualBlock(nn.Module):
    """Two convolutions with norms; the shortcut is added before the last activation."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes | None = None):
        super().__init__()
        self.block1 = ConvBlock(layers, channels_in, width, kernel, stride)
        self.conv2 = layers.conv(width, width, kernel, None, layers.config.conv_bias)
        self.norm2 = layers.norm(width)
        self.shortcut = Shortcut(layers, channels_in, width, stride or layers.ones)
        self.act2 = layers.act()

    def forward(self, x: Tensor) -> Tensor:
        return self.act2(self.norm2(self.conv2(self.block1(x))) + self.shortcut(x))


class Stage(nn.Module):
    """A stage of the encoder: shrinks its input, then several blocks."""

    def __init__(self, layers: StageLayers, channels_in: int, width: int, kernel: Sizes, stride: Sizes, depth: int):
        super().__init__()
        pools = layers.config.downsampling == "max" and stride != layers.ones
        block = ConvBlock if layers.config.residual == "none" else ResidualBlock
        self.pool = Pool(stride, average=False) if pools else nn.Identity()
        self.blocks = nn.ModuleList(
            [
                block(layers, width if k else channels_in, width, kernel, layers.ones if k or pools else stride)
                for k in range(depth)
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x)
        for block in self.blocks:
            x = block(x)
        return x


class UpStage(nn.Module):
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
        super().__init__()
        self.up_first = layers.config.first == "up"
        self.interpolates = layers.config.upsampling == "nearest"
        self.nearest = NearestUpsample(2) if self.interpolates else nn.Identity()
        if self.interpolates:
            self.up = layers.conv(channels_in, up_width, (2,) * layers.dims, pad=(0,) * layers.dims)
        else:
            self.up = layers.up_conv(channels_in, up_width, stride)
        self.up_act = layers.act() if self.interpolates else nn.Identity()
        joined = up_width + skip_width
        self.blocks = nn.ModuleList([ConvBlock(layers, width if k else joined, width, kernel) for k in range(depth)])

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.nearest(x)
        x = self.up_act(self.up(pad_end(x) if self.interpolates else x))
        x = torch.cat([x, skip] if self.up_first else [skip, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x


class StagedUNet(Network):
    """A U-Net by stages: nnU-Net's networks and their relatives.

    Args:
        config: the network.
        seed: of the initial weights; None: left to be loaded.
    """

    config: StagedUNetConfig

    def __init__(self, config: StagedUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers, stages, widths = StageLayers(config), stages_of(config), config.widths
        if config.stem:
            self.stem = ConvBlock(layers, config.in_channels, widths[0], stages.kernels[0])
        rows = zip(stages.inputs, widths, stages.kernels, stages.strides, stages.depths, strict=True)
        self.encoder = nn.ModuleList([Stage(layers, *row) for row in rows])
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
        self.decoder = nn.ModuleList([UpStage(layers, *row) for row in rows])
        self.side_stages = stages.side_stages
        self.sides = nn.ModuleList(
            [layers.conv(stages.decoder_widths[i], config.out_channels, layers.ones) for i in self.side_stages]
        )
        width = stages.decoder_widths[-1]
        if config.last_width:
            self.last = layers.conv(width, config.last_width, (3,) * layers.dims)
            self.last_act = layers.act()
            width = config.last_width
        self.head = layers.conv(width, config.out_channels, layers.ones)
        self.initialize(seed)

    def loss(self, of: Loss, image: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """The sum of `of` every head's logits, weighted by 1, 1/2, 1/4 … from the finest, over the sum of these weights
        (nnU-Net's deep supervision); coarser heads see every n-th label."""
        total, share, scale = 0.0, 1.0, 0.0
        for logits in reversed(self.outputs(image)):
            steps = [slice(None, None, n // m) for n, m in zip(labels.shape[1:], logits.shape[2:], strict=True)]
            at = (slice(None), *steps)
            total = total + share * of(logits, labels[at], None if weights is None else weights[at])
            scale, share = scale + share, share / 2
        return total / scale  # type: ignore[return-value]

    def forward(self, image: Tensor) -> Tensor:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial)."""
        return self._finish(self._decoded(image)[-1])

    def outputs(self, image: Tensor) -> list[Tensor]:
        """The logits of every head, the coarsest first; each stage's at its own size."""
        maps = self._decoded(image)
        sides = [side(maps[i]) for i, side in zip(self.side_stages, self.sides, strict=True)]
        return [*sides, self._finish(maps[-1])]

    def _decoded(self, image: Tensor) -> list[Tensor]:
        """What each stage of the decoder gives."""
        self.check(image)
        x, skips, maps = self.stem(image) if self.config.stem else image, [], []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
            maps.append(x)
        return maps

    def _finish(self, x: Tensor) -> Tensor:
        return self.head(self.last_act(self.last(x)) if self.config.last_width else x)
