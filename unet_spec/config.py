"""What a U-Net is, as a frozen dataclass that becomes config.json; and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from unet_spec.errors import InputError
from unet_spec.families import FAMILY_PRESETS
from unet_spec.network import NetworkConfig, require, require_norm, require_widths
from unet_spec.ops import ACTIVATIONS

if TYPE_CHECKING:
    from unet_spec.graph import Graph

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
        padding: of the 3x3 convolutions: "valid" (none: the output is smaller) or "same" (one zero a side).
        merge: where skip and upsampled map differ in size, "crop" the skip (the paper) or zero-"pad" the upsampled map.
        upsampling: "transposed" (2x2, stride 2) or "bilinear" (interpolation; the block before it narrows instead).
        align_corners: of the bilinear interpolation. True is what PyTorch users have; only False can be tiled exactly.
        norm: after each 3x3 convolution: "none", "batch", "group" (norm_groups groups) or "instance".
        norm_groups: groups of the group norm; must divide every width.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention; Flax's is 1 − this).
        conv_bias: whether the 3x3 convolutions have a bias. Up-convolutions and the head always have one.
        activation: "relu", "leaky_relu" (slope 0.01), "elu", "gelu" (exact) or "silu".
        dropout: rate at the end of the contracting path (after its two deepest blocks, as in the authors' release).

    Raises InputError for any other value.
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

    def validate(self) -> None:
        require(self.norm_groups >= 1, "norm_groups", self.norm_groups, "at least 1")
        require_widths(self.widths)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require_norm(self.norm_eps, self.norm_momentum)
        if self.norm == "group":
            odd = [w for w in self.widths if w % self.norm_groups]
            require(not odd, "norm_groups", self.norm_groups, f"a divisor of every width; {odd} are not divisible")

    def build(self) -> Graph:
        from unet_spec.unet import build

        return build(self)


assert set(get_args(ActivationName)) == set(ACTIVATIONS)

PRESETS: dict[str, UNetConfig] = {
    # Figure 1 of the paper, with dropout at the end of the contracting path.
    "paper": UNetConfig(dropout=0.5),
    # The article's network: valid, batch norm after biased convolutions, upsampled map padded to the skip's size.
    "article": UNetConfig(merge="pad", norm="batch", out_channels=1),
    # Its bilinear branch, which does not run as printed, done right.
    "article-bilinear": UNetConfig(merge="pad", norm="batch", out_channels=1, upsampling="bilinear"),
    # What most PyTorch users have: same padding, batch norm, no bias before it.
    "same": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False),
    "same-bilinear": UNetConfig(padding="same", merge="pad", norm="batch", conv_bias=False, upsampling="bilinear"),
}


def preset_names() -> tuple[str, ...]:
    """All presets: those of the U-Net first, then one or more for each other architecture."""
    return (*PRESETS, *FAMILY_PRESETS)


def preset(name: str, **changes: Any) -> NetworkConfig:
    """The preset called `name`, with `changes`. Raises InputError for an unknown name, key or value."""
    presets: dict[str, NetworkConfig] = {**PRESETS, **FAMILY_PRESETS}
    if name not in presets:
        raise InputError(f"unknown preset {name!r}; there are {', '.join(presets)}")
    return presets[name].replace(**changes)
