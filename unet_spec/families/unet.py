"""The U-Net (Ronneberger, Fischer and Brox 2015, arXiv 1505.04597) and its common variants.

    encoder.0 ─────────────── skip ───────────────▶ decoder.{n−1} ─▶ head (and distance)
      └ pool ▶ encoder.1 ──── skip ──▶ decoder.{n−2} ┘ up
                 └ pool ▶ ...             ┘ up
                           encoder.n ────┘ up          (the bottleneck)

blocks: twice 3x3 convolution, norm, activation; concatenated as [skip, upsampled]. With valid convolutions, either the
skip is cropped to the size of the upsampled map (the paper), or the upsampled map is padded to the size of the skip.
With `distance_head`, a second 1x1 convolution predicts the distance to the border of the object; the output is [logits,
distance].
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

from ..errors import InputError
from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from ..ops import ACTIVATIONS, Activation, Dropout, Pad
from .builder import Builder

Padding = Literal["valid", "same"]
Merge = Literal["crop", "pad"]
Upsampling = Literal["transposed", "bilinear"]
Norm = Literal["none", "batch", "group", "instance"]
ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]


@dataclass(frozen=True)
class UNetConfig(NetworkConfig, architecture="unet"):
    """A U-Net after Ronneberger, Fischer and Brox 2015 (arXiv 1505.04597) and its common variants.

    Attributes:
        in_channels: channels of the image.
        out_channels: channels of the logits. One channel is the logit of class 1 against class 0; K > 1 are K classes.
        widths: feature maps per level, from the finest to the bottleneck; n levels pool n − 1 times.
        spatial_dims: 2 for images, 3 for volumes.
        padding: padding of the 3x3 convolutions: "valid" (none, the output is smaller) or "same" (one zero per side).
        merge: if skip and upsampled map differ in size, "crop" the skip (the paper) or zero-"pad" the upsampled map.
        upsampling: "transposed" (2x2, stride 2) or "bilinear" (interpolation; the block before it has fewer outputs).
        align_corners: alignment of the bilinear interpolation. PyTorch networks often have True; only False can be
            tiled exactly.
        norm: norm after each 3x3 convolution: "none", "batch", "group" (norm_groups groups) or "instance".
        norm_groups: groups of the group norm; must divide every width.
        norm_eps: constant added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention; Flax's is 1 − this).
        conv_bias: whether the 3x3 convolutions have a bias. Up-convolutions and the head always have one.
        activation: "relu", "leaky_relu" (slope 0.01), "elu", "gelu" (exact) or "silu".
        dropout: dropout rate at the end of the contracting path (after its two deepest blocks, as in the authors'
            release).
        distance_head: whether the output has a channel after the logits: the distance of the pixel to the border of its
            object, as a share of the largest distance in the object (`unet_data.border_distances`).

    Raises InputError for any other value.

    Example:
        >>> UNetConfig(in_channels=3, widths=(16, 32, 64), padding="same").geometry.grid().nearest(510)
        (508, 512)
    """

    in_channels: int = 1
    out_channels: int = 2
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    spatial_dims: int = 2
    padding: Padding = "valid"
    merge: Merge = "crop"
    upsampling: Upsampling = "transposed"
    align_corners: bool = True
    norm: Norm = "none"
    norm_groups: int = 8
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    conv_bias: bool = True
    activation: ActivationName = "relu"
    dropout: float = 0.0
    distance_head: bool = False

    def validate(self) -> None:
        require(self.norm_groups >= 1, "norm_groups", self.norm_groups, "at least 1")
        require_widths(self.widths)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require_norm(self.norm_eps, self.norm_momentum)
        if self.norm == "group":
            indivisible = [w for w in self.widths if w % self.norm_groups]
            require(
                not indivisible,
                "norm_groups",
                self.norm_groups,
                f"a divisor of every width; {indivisible} are not divisible",
            )

    def check_classes(self, overlapping: bool) -> None:
        if overlapping and self.distance_head:
            raise InputError(
                "a distance head needs objects that do not overlap, but these classes overlap; leave out one of the two"
            )

    def build(self) -> Graph:
        return build(self)

    def to_dict(self) -> dict[str, Any]:
        """The config for JSON; without `distance_head` if it is False, so that older versions can read it."""
        return {k: v for k, v in super().to_dict().items() if k != "distance_head" or v}


assert set(get_args(ActivationName)) == set(ACTIVATIONS)


def block_widths(config: UNetConfig) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]]:
    """Channels (in, middle, out) of every encoder block, finest first, and decoder block, deepest first.

    With transposed upsampling, the up-convolution reduces the channels to the skip's, and the block does not change
    them. Interpolation cannot reduce channels, so the block before it outputs the width of the level above. Therefore
    the bottleneck of a bilinear U-Net is half as wide.
    """
    widths, levels = config.widths, len(config.widths)
    bilinear = config.upsampling == "bilinear"
    encoder = [(w_in, w, w) for w_in, w in zip((config.in_channels, *widths), widths, strict=False)]
    decoder = [(2 * w, w, w) for w in reversed(widths[:-1])]
    if bilinear:
        encoder[-1] = (widths[-2], widths[-2], widths[-2])
        decoder = [(2 * widths[i], widths[i], widths[max(i - 1, 0)]) for i in reversed(range(levels - 1))]
    return encoder, decoder


def build(config: UNetConfig) -> Graph:
    """The graph of `config`: some 50 nodes for five levels."""
    b = Builder(config.in_channels, config.spatial_dims, valid=config.padding == "valid")
    encoder, decoder = block_widths(config)

    def block(name: str, x: str, widths: tuple[int, int, int], dropout: float = 0.0) -> str:
        for i in (1, 2):
            x = b.conv(f"{name}.conv{i}", x, widths[i], bias=config.conv_bias)
            x = b.norm(config.norm, f"{name}.norm{i}", x, config.norm_eps, config.norm_momentum, config.norm_groups)
            x = b.add(f"{name}.act{i}", Activation(config.activation), x)
        return b.add(f"{name}.dropout", Dropout(dropout), x) if dropout else x

    # At level i, for an image of n pixels per axis, a map has n / 2^i − 2 · lost pixels.
    x, lost, skips = "input", Fraction(0), []
    by_block = 2 if b.valid else 0  # pixels that the two convolutions remove per side
    for i, widths in enumerate(encoder):
        if i:
            skips.append((x, lost))
            x, lost = b.max_pool(f"encoder.{i}.pool", x), lost / 2
        deep = i >= len(encoder) - 2
        x, lost = block(f"encoder.{i}", x, widths, config.dropout if deep else 0.0), lost + by_block
    for i, widths in enumerate(decoder):
        name, (skip, lost_before) = f"decoder.{i}", skips.pop()
        if config.upsampling == "transposed":
            x = b.up_conv(f"{name}.up", x, widths[0] // 2)
        else:
            x = b.upsample(f"{name}.up", x, align_corners=config.align_corners)
        lost *= 2
        margin = int(lost - lost_before)  # additional pixels of the skip per side
        if config.merge == "crop":
            skip = b.crop(f"{name}.crop", skip, margin)
        elif margin:
            x, lost = b.add(f"{name}.pad", Pad((margin,) * b.dims), x), lost_before
        x, lost = block(f"{name}.block", b.concat(f"{name}.concat", skip, x), widths), lost + by_block
    logits = b.conv("head", x, config.out_channels, 1)
    if config.distance_head:
        b.concat("output", logits, b.conv("distance", x, 1, 1))
    return b.graph()


PRESETS: dict[str, UNetConfig] = {
    # Figure 1 of the paper, with dropout at the end of the contracting path.
    "paper": UNetConfig(dropout=0.5),
    # The article's network: valid, batch norm after biased convolutions, upsampled map padded to the skip's size.
    "article": UNetConfig(merge="pad", norm="batch", out_channels=1),
    # The article's bilinear branch, corrected: it does not run as printed.
    "article-bilinear": UNetConfig(merge="pad", norm="batch", out_channels=1, upsampling="bilinear"),
    # As in most PyTorch implementations: same padding, batch norm, no bias before it.
    "same": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False),
    "same-bilinear": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False, upsampling="bilinear"),
}

FAMILY = Family(
    UNetConfig,
    when="The default: few images, borders that touch, tiles whose result equals the whole image's.",
    image_size=572,
    presets=PRESETS,
    tests={
        "paper": PRESETS["paper"].replace(widths=(4, 6, 8)),
        "article": PRESETS["article"].replace(widths=(3, 4, 7)),
        "article-bilinear": PRESETS["article-bilinear"].replace(widths=(4, 6, 8)),
        "same": PRESETS["same"].replace(widths=(3, 5, 7)),
        "same-bilinear": PRESETS["same-bilinear"].replace(widths=(4, 6, 8), in_channels=3, out_channels=3),
    },
)
