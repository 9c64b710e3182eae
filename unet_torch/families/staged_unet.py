"""The staged U-Net in PyTorch. `unet_jax/families/staged_unet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/staged_unet.py`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.staged_unet import Sizes, StagedUNetConfig, stages_of

from ..network import Loss, Network
from ..nn.blocks import ConvUnit, Shortcut
from ..nn.layers import Layers
from ..nn.spatial import pad_end
from ..registry import register
from ..shapes import Image, Labels, Logits, Scalar, Weights


class ResidualBlock(nn.Module):
    """Two convolutions with norms; the shortcut is added before the last activation."""

    def __init__(self, layers: Layers, channels_in: int, width: int, kernel: Sizes, stride: Sizes, pool: bool):
        super().__init__()
        self.block1 = ConvUnit(layers, channels_in, width, kernel, stride)
        self.conv2 = layers.conv(width, width, kernel, bias=layers.bias)
        self.norm2 = layers.norm(width)
        self.shortcut = Shortcut(layers, channels_in, width, stride, pool)
        self.act2 = layers.act()

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        return self.act2(self.norm2(self.conv2(self.block1(x))) + self.shortcut(x))


class Stage(nn.Module):
    """An encoder stage: shrinks its input, then applies several blocks."""

    def __init__(
        self,
        layers: Layers,
        config: StagedUNetConfig,
        channels_in: int,
        width: int,
        kernel: Sizes,
        stride: Sizes,
        depth: int,
    ):
        super().__init__()
        pools = config.downsampling == "max" and max(stride) > 1
        self.pool = layers.max_pool(stride) if pools else nn.Identity()
        self.blocks = nn.ModuleList()
        for k in range(depth):
            step = (1,) * layers.dims if k or pools else stride
            if config.residual == "none":
                block = ConvUnit(layers, channels_in, width, kernel, step)
            else:
                block = ResidualBlock(layers, channels_in, width, kernel, step, pool=config.residual == "pool")
            self.blocks.append(block)
            channels_in = width

    def forward(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *out"]:
        x = self.pool(x)
        for block in self.blocks:
            x = block(x)
        return x


class UpStage(nn.Module):
    """A decoder stage: upsamples its input, concatenates it with the skip, then applies several convolutions."""

    def __init__(
        self,
        layers: Layers,
        config: StagedUNetConfig,
        channels_in: int,
        up_width: int,
        skip_width: int,
        width: int,
        kernel: Sizes,
        stride: Sizes,
        depth: int,
    ):
        super().__init__()
        self.up_first, self.interpolates = config.first == "up", config.upsampling == "nearest"
        if self.interpolates:
            self.nearest = layers.nearest_upsample()
            self.up = layers.conv(channels_in, up_width, 2, pad=0)
            self.up_act = layers.act()
        else:
            self.up = layers.up_conv(channels_in, up_width, stride, stride, bias=config.up_bias)
        widths = [up_width + skip_width, *[width] * depth]
        self.blocks = nn.ModuleList([ConvUnit(layers, widths[k], width, kernel) for k in range(depth)])

    def forward(self, x: Float[Tensor, "n c *low"], skip: Float[Tensor, "n k *high"]) -> Float[Tensor, "n m *high"]:
        x = self.up_act(self.up(pad_end(self.nearest(x)))) if self.interpolates else self.up(x)
        x = torch.cat([x, skip] if self.up_first else [skip, x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x


@register(StagedUNetConfig)
class StagedUNet(Network):
    """A U-Net defined by its stages, as nnU-Net's networks are. Arguments as for `UNet`."""

    config: StagedUNetConfig

    def __init__(self, config: StagedUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config)
        stages, widths = stages_of(config), config.widths
        if config.stem:
            self.stem = ConvUnit(layers, config.in_channels, widths[0], stages.kernels[0])
        rows = zip(stages.inputs, widths, stages.kernels, stages.strides, stages.depths, strict=True)
        self.encoder = nn.ModuleList([Stage(layers, config, *row) for row in rows])
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
        self.decoder = nn.ModuleList([UpStage(layers, config, *row) for row in rows])
        self.side_stages = stages.side_stages
        self.sides = nn.ModuleList(
            [layers.conv(stages.decoder_widths[i], config.out_channels, 1) for i in self.side_stages]
        )
        width = stages.decoder_widths[-1]
        if config.last_width:
            self.last = layers.conv(width, config.last_width)
            self.last_act = layers.act()
            width = config.last_width
        self.head = layers.conv(width, config.out_channels, 1)
        self.initialize(seed)

    def loss(self, of: Loss, image: Image, labels: Labels, weights: Weights | None = None) -> Scalar:
        """The weighted mean of the losses (`of`) of all heads, with weights 1, 1/2, 1/4 … from the finest (nnU-Net's
        deep supervision). Labels are subsampled for coarser heads."""
        outputs, terms = self.outputs(image)[::-1], []
        for i, logits in enumerate(outputs):
            steps = [slice(None, None, n // m) for n, m in zip(labels.shape[1:], logits.shape[2:], strict=True)]
            at = (slice(None), *steps)
            terms.append(0.5**i * of(logits, labels[at], None if weights is None else weights[at]))
        return sum(terms[1:], terms[0]) / sum(0.5**i for i in range(len(terms)))

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial)."""
        return self._finish(self._decoded(image)[-1])

    def outputs(self, image: Image) -> list[Float[Tensor, "n ..."]]:
        """The logits of every head, the coarsest first, each at the size of its stage."""
        maps = self._decoded(image)
        sides = [side(maps[i]) for i, side in zip(self.side_stages, self.sides, strict=True)]
        return [*sides, self._finish(maps[-1])]

    def _decoded(self, image: Image) -> list[Float[Tensor, "n ..."]]:
        """The output of each decoder stage."""
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

    def _finish(self, x: Float[Tensor, "n c *spatial"]) -> Float[Tensor, "n k *spatial"]:
        return self.head(self.last_act(self.last(x)) if self.config.last_width else x)
