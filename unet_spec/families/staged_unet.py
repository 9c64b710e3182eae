"""The staged U-Net: kernel and stride (per axis) and depth can be set for each stage.

    stem ▶ encoder.0 ─────────── skip ─────────▶ decoder.1 ─▶ (last) ─▶ head
             └ shrink ▶ encoder.1 ─── skip ──▶ decoder.0 ─▶ side.0 ┘ up
                          └ shrink ▶ encoder.2 ┘ up

    stage: several blocks, each a convolution, norm, activation; or a residual block, that is
           activation(conv · norm · activation · conv · norm + shortcut), with a 1x1 convolution as shortcut if needed
    shrink: the stride of the stage's first block, or max-pooling before it
    up: a non-overlapping transposed convolution (kernel = stride), or nearest neighbours and a 2x2 convolution

This network includes nnU-Net's PlainConvUNet and ResidualEncoderUNet (Isensee et al. 2021, arXiv 1904.08128, and 2024,
arXiv 2404.09556), MONAI's DynUNet and BasicUNet, mateuszbuda's brain-segmentation U-Net and the common Keras U-Net;
`unet_spec.sources` reads their weights. The sides are auxiliary heads for deep supervision, used only in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from ..ops import Activation, Add, ConvTranspose, LeakyReLU, NearestUpsample, PadEnd
from .builder import Builder, Sizes


@dataclass(frozen=True)
class StagedUNetConfig(NetworkConfig, architecture="staged-unet"):
    """A U-Net with settings per stage. Empty settings have the usual values.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per stage, from the finest to the bottleneck.
        kernels: kernel sizes of the convolutions per stage and axis, odd; empty: 3 everywhere.
        strides: downsampling factor of each stage per axis; ones for the first. Empty: 2 from the second on.
        depths: blocks per stage; empty: 2.
        decoder_kernels: as `kernels`, for the decoder, deepest first; empty: those of the skips' stages.
        decoder_depths: convolutions per stage of the decoder, deepest first; empty: 2.
        decoder_widths: feature maps per stage of the decoder, deepest first; empty: those of the skips.
        up_widths: feature maps of the upsampled maps, deepest first; empty: as many as the skips have.
        residual: "none"; or residual blocks in the encoder, with a shortcut that is downsampled by "pool" (average
            pooling, then a 1x1 convolution if the widths differ) or by "stride" (a strided 1x1 convolution).
        stem: whether a convolution, norm and activation come before the first stage.
        downsampling: "stride" (of the stage's first convolution) or "max" (pooling before it).
        upsampling: "transposed" (kernel = stride) or "nearest" (then 2x2 convolution and activation).
        first: which map comes first in the concatenation, "up" or "skip".
        conv_bias, up_bias: whether the convolutions and the transposed convolutions have a bias. Heads always have one.
        norm: "none", "batch" or "instance" (with scale and shift), after each convolution of a block.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
        activation: "relu" or "leaky_relu".
        slope: slope of leaky_relu below zero.
        sides: number of stages of the decoder, before the last one, that have an auxiliary head.
        last_width: feature maps of a further 3x3 convolution and activation before the head; 0 for none.
    """

    in_channels: int = 1
    out_channels: int = 2
    spatial_dims: int = 2
    widths: Sizes = (32, 64, 128, 256, 512, 512)
    kernels: tuple[Sizes, ...] = ()
    strides: tuple[Sizes, ...] = ()
    depths: Sizes = ()
    decoder_kernels: tuple[Sizes, ...] = ()
    decoder_depths: Sizes = ()
    decoder_widths: Sizes = ()
    up_widths: Sizes = ()
    residual: Literal["none", "pool", "stride"] = "none"
    stem: bool = False
    downsampling: Literal["stride", "max"] = "stride"
    upsampling: Literal["transposed", "nearest"] = "transposed"
    first: Literal["up", "skip"] = "up"
    conv_bias: bool = True
    up_bias: bool = True
    norm: Literal["none", "batch", "instance"] = "instance"
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    activation: Literal["relu", "leaky_relu"] = "leaky_relu"
    slope: float = 0.01
    sides: int = 0
    last_width: int = 0

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)
        stages, dims = len(self.widths), self.spatial_dims
        for name, count in (("kernels", stages), ("strides", stages), ("decoder_kernels", stages - 1)):
            rows = getattr(self, name)
            fits = not rows or (len(rows) == count and all(len(row) == dims and min(row) >= 1 for row in rows))
            require(fits, name, rows, f"{count} rows, one a stage, of {dims} numbers, one an axis, each at least 1")
            odd = name == "strides" or all(k % 2 for row in rows for k in row)
            require(odd, name, rows, "odd on every axis")
        require(not self.strides or max(self.strides[0]) == 1, "strides", self.strides, "1 on every axis at first")
        for name, count in (
            ("depths", stages),
            ("decoder_depths", stages - 1),
            ("decoder_widths", stages - 1),
            ("up_widths", stages - 1),
        ):
            values = getattr(self, name)
            require(not values or (len(values) == count and min(values) >= 1), name, values, f"{count} numbers above 0")
        require(0 <= self.sides < stages - 1, "sides", self.sides, f"in 0 … {stages - 2}, for {stages} stages")
        require(self.last_width >= 0, "last_width", self.last_width, "at least 0")
        if self.residual != "none":
            require(self.downsampling == "stride", "downsampling", self.downsampling, "'stride' for residual blocks")
        if self.upsampling == "nearest":
            doubled = all(set(stride) == {2} for stride in stages_of(self).strides[1:])
            require(doubled, "strides", self.strides, "2 on every axis for nearest upsampling")

    def build(self) -> Graph:
        return build(self)


@dataclass(frozen=True)
class Stages:
    """A config with all defaults filled in; see StagedUNetConfig for the names. `inputs` are the input channels of each
    stage of the encoder, `side_stages` the stages of the decoder with an auxiliary head."""

    kernels: tuple[Sizes, ...]
    strides: tuple[Sizes, ...]
    depths: Sizes
    decoder_kernels: tuple[Sizes, ...]
    decoder_depths: Sizes
    decoder_widths: Sizes
    up_widths: Sizes
    inputs: Sizes
    side_stages: tuple[int, ...]


def stages_of(config: StagedUNetConfig) -> Stages:
    """The complete settings from which both twins and the graph are built."""
    count, dims, skips = len(config.widths), config.spatial_dims, tuple(reversed(config.widths[:-1]))
    kernels = config.kernels or ((3,) * dims,) * count
    return Stages(
        kernels,
        config.strides or ((1,) * dims, *[(2,) * dims] * (count - 1)),
        config.depths or (2,) * count,
        config.decoder_kernels or kernels[-2::-1],
        config.decoder_depths or (2,) * (count - 1),
        config.decoder_widths or skips,
        config.up_widths or skips,
        (config.widths[0] if config.stem else config.in_channels, *config.widths[:-1]),
        tuple(range(count - 2 - config.sides, count - 2)),
    )


def build(config: StagedUNetConfig) -> Graph:
    b, stages = Builder(config.in_channels, config.spatial_dims), stages_of(config)
    ones = b.sizes(1)

    def act(name: str, x: str) -> str:
        return b.add(name, LeakyReLU(slope=config.slope) if config.activation == "leaky_relu" else Activation(), x)

    def norm(name: str, x: str) -> str:
        return b.norm(config.norm, name, x, config.norm_eps, config.norm_momentum)

    def conv_block(name: str, x: str, width: int, kernel: Sizes, stride: Sizes = ones) -> str:
        x = b.conv(f"{name}.conv", x, width, kernel, stride, config.conv_bias)
        return act(f"{name}.act", norm(f"{name}.norm", x))

    def shortcut(name: str, x: str, width: int, stride: Sizes) -> str:
        strided = stride if config.residual == "stride" else ones
        if config.residual == "pool" and stride != ones:
            x = b.avg_pool(f"{name}.pool", x, stride)
        if b.channels[x] != width or strided != ones:
            x = norm(f"{name}.norm", b.conv(f"{name}.conv", x, width, 1, strided, bias=False))
        return x

    def residual_block(name: str, x: str, width: int, kernel: Sizes, stride: Sizes = ones) -> str:
        y = conv_block(f"{name}.block1", x, width, kernel, stride)
        y = norm(f"{name}.norm2", b.conv(f"{name}.conv2", y, width, kernel, bias=config.conv_bias))
        return act(f"{name}.act2", b.add(f"{name}.add", Add(), y, shortcut(f"{name}.shortcut", x, width, stride)))

    block = conv_block if config.residual == "none" else residual_block
    x, skips = "input", []
    if config.stem:
        x = conv_block("stem", x, config.widths[0], stages.kernels[0])
    for i, (width, kernel, stride) in enumerate(zip(config.widths, stages.kernels, stages.strides, strict=True)):
        if config.downsampling == "max" and stride != ones:
            x, stride = b.max_pool(f"encoder.{i}.pool", x, stride), ones
        for k in range(stages.depths[i]):
            x = block(f"encoder.{i}.blocks.{k}", x, width, kernel, ones if k else stride)
        skips.append(x)
    skips.pop()
    side = 0
    for i, (width, up_width) in enumerate(zip(stages.decoder_widths, stages.up_widths, strict=True)):
        name, kernel, stride = f"decoder.{i}", stages.decoder_kernels[i], stages.strides[-1 - i]
        if config.upsampling == "transposed":
            up = b.add(f"{name}.up", ConvTranspose(b.channels[x], up_width, stride, stride, config.up_bias), x)
        else:
            x = b.add(f"{name}.pad", PadEnd(1), b.add(f"{name}.nearest", NearestUpsample(2), x))
            up = act(f"{name}.up_act", b.conv(f"{name}.up", x, up_width, 2))
        pair = (up, skips.pop())
        x = b.concat(f"{name}.concat", *(pair if config.first == "up" else reversed(pair)))
        for k in range(stages.decoder_depths[i]):
            x = conv_block(f"{name}.blocks.{k}", x, width, kernel)
        if i in stages.side_stages:
            b.conv(f"sides.{side}", x, config.out_channels, 1)
            side += 1
    if config.last_width:
        x = act("last_act", b.conv("last", x, config.last_width))
    b.conv("head", x, config.out_channels, 1)
    return b.graph(*(f"sides.{k}" for k in range(side)))


_WIDTHS = (32, 64, 128, 256, 512, 512, 512, 512)

FAMILY = Family(
    StagedUNetConfig,
    when="Weights of nnU-Net, DynUNet or the Keras U-Net; volumes whose axes want kernels and strides of their own.",
    image_size=512,
    presets={
        # nnU-Net's 2-D network for patches of 512 pixels, and its residual encoder "M" (fewer blocks in the decoder).
        "nnunet": StagedUNetConfig(widths=_WIDTHS, sides=6),
        "nnunet-residual": StagedUNetConfig(
            widths=_WIDTHS,
            depths=(1, 3, 4, 6, 6, 6, 6, 6),
            decoder_depths=(1,) * 7,
            residual="pool",
            stem=True,
            sides=6,
        ),
    },
    narrow={
        "nnunet": StagedUNetConfig(widths=(8, 16, 32, 64), sides=2),
        "nnunet-residual": StagedUNetConfig(
            widths=(8, 16, 32, 64), depths=(1, 2, 2, 2), decoder_depths=(1, 1, 1), residual="pool", stem=True, sides=2
        ),
    },
    tests={
        # Anisotropic kernels and strides, a head for each stage of the decoder.
        "nnunet": StagedUNetConfig(
            in_channels=2,
            out_channels=3,
            widths=(4, 6, 5),
            kernels=((1, 3), (3, 3), (3, 5)),
            strides=((1, 1), (1, 2), (2, 2)),
            sides=1,
        ),
        "nnunet-residual": StagedUNetConfig(
            widths=(4, 6, 6), depths=(1, 2, 1), decoder_depths=(1, 2), residual="pool", stem=True, sides=1
        ),
        "nnunet-residual-3d": StagedUNetConfig(
            spatial_dims=3,
            widths=(2, 3),
            kernels=((1, 3, 3), (3, 3, 3)),
            strides=((1, 1, 1), (1, 2, 2)),
            depths=(1, 1),
            residual="pool",
            stem=True,
            norm="batch",
        ),
        # Two input channels: for one, the 1x1 shortcut would only be a scale, which its norm cancels.
        "dynunet-residual": StagedUNetConfig(
            in_channels=2, widths=(3, 4, 5), residual="stride", conv_bias=False, up_bias=False, slope=0.05, sides=1
        ),
        "staged-max": StagedUNetConfig(
            in_channels=2,
            widths=(4, 4, 6),
            decoder_widths=(5, 3),
            up_widths=(3, 4),
            downsampling="max",
            first="skip",
            norm="batch",
            activation="relu",
        ),
        "staged-nearest": StagedUNetConfig(
            out_channels=1,
            widths=(4, 5, 6),
            downsampling="max",
            upsampling="nearest",
            first="skip",
            norm="none",
            activation="relu",
            last_width=2,
        ),
    },
)
