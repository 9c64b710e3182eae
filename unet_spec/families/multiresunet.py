"""MultiResUNet (Ibtehaz and Rahman 2019, arXiv 1902.04049).

    encoder.0 ── paths.0 (4 steps) ──▶ decoder.3 ─▶ head       encoder, decoder: MultiRes blocks
      └ pool ▶ encoder.1 ── paths.1 (3) ─▶ ... ┘ up            paths: residual 3x3 convolutions on the skips

A MultiRes block has three consecutive 3x3 convolutions, whose outputs are concatenated (with receptive fields of 3x3,
5x5 and 7x7), plus a 1x1 convolution of the block's input. Of W = α · U channels, α = 1.67, they have W/6, W/3 and W/2.

It follows the authors' Keras code: convolutions without bias, each with a batch norm without scale; full batch norms
after the concatenation and after the sum; also the head is normalised. Its sigmoid is left out: the outputs are logits.
The paper does not mention these norms. Batch norms have Keras' values: eps 1e-3, momentum 0.99.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from ..ops import Add, ShiftBatchNorm
from .builder import Builder


@dataclass(frozen=True)
class MultiResUNetConfig(NetworkConfig, architecture="multiresunet"):
    """MultiResUNet.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: U per level, from the finest to the bottleneck; a block has `block_widths(U, alpha)` channels.
        alpha: W / U.
        padding: "same" (the reference: one zero per side of 3x3 convolutions) or "valid": no padding. Maps are cropped
            to the smallest before they are concatenated or added, and the output is smaller than the image.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
    """

    in_channels: int = 3
    out_channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    spatial_dims: int = 2
    alpha: float = 1.67
    padding: Literal["valid", "same"] = "same"
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)
        smallest = min(self.widths)
        require(
            block_widths(smallest, self.alpha)[0] >= 1, "alpha", self.alpha, f"above 6 / {smallest}, the smallest width"
        )

    def build(self) -> Graph:
        return build(self)


def block_widths(width: int, alpha: float) -> tuple[int, int, int]:
    """Channels of the three convolutions of a block: 0.167, 0.333 and 0.5 of alpha · width, rounded down."""
    total = alpha * width
    return int(total * 0.167), int(total * 0.333), int(total * 0.5)


def build(config: MultiResUNetConfig) -> Graph:
    valid = config.padding == "valid"
    b = Builder(config.in_channels, config.spatial_dims, valid=valid)
    unit = int(valid)  # pixels that a 3x3 convolution removes per side

    def conv(name: str, x: str, out: int, kernel: int = 3, act: bool = True) -> str:
        """Convolution `name`, norm without scale and, unless it is a shortcut, ReLU."""
        x = b.conv(name, x, out, kernel, bias=False)
        x = b.add(f"{name}_norm", ShiftBatchNorm(out, config.norm_eps, config.norm_momentum), x)
        return b.relu(f"{name}_act", x) if act else x

    def norm(name: str, x: str) -> str:
        return b.batch_norm(name, x, config.norm_eps, config.norm_momentum)

    def block(name: str, x: str, width: int) -> str:
        parts = block_widths(width, config.alpha)
        shortcut = conv(f"{name}.shortcut", b.crop(f"{name}.crop", x, 3 * unit), sum(parts), 1, act=False)
        a = conv(f"{name}.conv3", x, parts[0])
        c = conv(f"{name}.conv5", a, parts[1])
        d = conv(f"{name}.conv7", c, parts[2])
        a, c = b.crop(f"{name}.crop3", a, 2 * unit), b.crop(f"{name}.crop5", c, unit)
        joined = norm(f"{name}.norm1", b.concat(f"{name}.concat", a, c, d))
        return norm(f"{name}.norm2", b.relu(f"{name}.act", b.add(f"{name}.add", Add(), shortcut, joined)))

    def path(name: str, x: str, width: int, steps: int) -> str:
        for i in range(steps):
            shortcut = conv(f"{name}.{i}.shortcut", b.crop(f"{name}.{i}.crop", x, unit), width, 1, act=False)
            y = conv(f"{name}.{i}.conv", x, width)
            x = b.relu(f"{name}.{i}.act", b.add(f"{name}.{i}.add", Add(), shortcut, y))
            x = norm(f"{name}.{i}.norm", x)
        return x

    # At level i, for an image of n pixels per axis, a map has n / 2^i − 2 · lost pixels.
    x, lost, skips = "input", Fraction(0), []
    last = len(config.widths) - 1
    for i, width in enumerate(config.widths):
        if i:
            x, lost = b.max_pool(f"encoder.{i}.pool", x), lost / 2
        x, lost = block(f"encoder.{i}", x, width), lost + 3 * unit
        if i < last:
            skips.append((path(f"paths.{i}", x, width, last - i), lost + (last - i) * unit))
    for i, width in enumerate(reversed(config.widths[:-1])):
        up, lost = b.up_conv(f"decoder.{i}.up", x, width), 2 * lost
        skip, lost_before = skips.pop()
        skip = b.crop(f"decoder.{i}.crop", skip, int(lost - lost_before))
        x = block(f"decoder.{i}.block", b.concat(f"decoder.{i}.concat", up, skip), width)
        lost += 3 * unit
    conv("head", x, config.out_channels, 1, act=False)
    return b.graph()


FAMILY = Family(
    MultiResUNetConfig,
    when="Textures at several scales, with a quarter of the U-Net's parameters.",
    image_size=256,
    presets={"multiresunet": MultiResUNetConfig()},
    tests={
        "multiresunet": MultiResUNetConfig(widths=(4, 5)),
        "multiresunet-deep": MultiResUNetConfig(widths=(4, 5, 7)),
        "multiresunet-3d": MultiResUNetConfig(widths=(4, 6), spatial_dims=3),
    },
)
