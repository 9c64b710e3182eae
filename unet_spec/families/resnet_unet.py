"""A U-Net whose encoder is a ResNet (He et al. 2016, arXiv 1512.03385), as in segmentation_models.pytorch.

    image ─▶ stem 7x7/2 ─────── skip ───────────────────────────▶ decoder.3 ─▶ decoder.4 ─▶ head 3x3
               └ pool 3/2 ▶ layers.0 ── skip ────────▶ decoder.2 ──┘ up          ┘ up, no skip
                              └▶ layers.1 ─ skip ▶ decoder.1 ┘ up
                                   └▶ layers.2 ─▶ decoder.0 ┘ up
                                        └▶ layers.3 ┘ up

    layers: residual blocks, "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1, four times as wide)
    decoder: twice the size (nearest neighbour), [upsampled, skip], twice 3x3 convolution, batch norm, ReLU

The pooling's padding is a separate Pad with zeros: after a ReLU, no value is below zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm
from ..ops import Add, NearestUpsample, Pad, WindowMaxPool
from .builder import Builder


@dataclass(frozen=True)
class ResNetUNetConfig(NetworkConfig, architecture="resnet-unet"):
    """A U-Net with a ResNet encoder, for images whose sizes are multiples of 32.

    Attributes:
        in_channels, out_channels: as in every network.
        block: "basic" (ResNet-18 and 34) or "bottleneck" (50, 101, 152).
        depths: blocks in each of the four layers.
        width: feature maps of the stem; the blocks of the four layers have 1, 2, 4 and 8 times as many inside.
        decoder: feature maps of the five decoder blocks.
        norm_eps, norm_momentum: constants of the batch norms (momentum in PyTorch's convention).
    """

    spatial_dims: ClassVar[int] = 2  # pyright: ignore[reportIncompatibleVariableOverride]
    in_channels: int = 3
    out_channels: int = 1
    block: Literal["basic", "bottleneck"] = "basic"
    depths: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    decoder: tuple[int, ...] = (256, 128, 64, 32, 16)
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def validate(self) -> None:
        for name, count in (("depths", 4), ("decoder", 5)):
            value = getattr(self, name)
            require(len(value) == count and min(value) >= 1, name, value, f"{count} numbers above 0")
        require(self.width >= 1, "width", self.width, "at least 1")
        require_norm(self.norm_eps, self.norm_momentum)

    @property
    def skip_widths(self) -> tuple[int, ...]:
        """Feature maps of the stem and of each layer, the possible skips."""
        expansion = 4 if self.block == "bottleneck" else 1
        return (self.width, *(self.width * 2**i * expansion for i in range(4)))

    def build(self) -> Graph:
        return build(self)


def block_convs(kind: str, inner: int, stride: int) -> tuple[tuple[int, int, int], ...]:
    """(feature maps, kernel, stride) of each convolution in a block with inner width `inner`."""
    if kind == "basic":
        return (inner, 3, stride), (inner, 3, 1)
    return (inner, 1, 1), (inner, 3, stride), (4 * inner, 1, 1)


def build(config: ResNetUNetConfig) -> Graph:
    b = Builder(config.in_channels, 2, multiple=32)

    def conv_norm(name: str, k: str, x: str, width: int, kernel: int, stride: int = 1) -> str:
        x = b.conv(f"{name}.conv{k}", x, width, kernel, stride, bias=False)
        return b.batch_norm(f"{name}.norm{k}", x, config.norm_eps, config.norm_momentum)

    def residual_block(name: str, x: str, inner: int, stride: int) -> str:
        convs, y, shortcut = block_convs(config.block, inner, stride), x, x
        for k, (width, kernel, step) in enumerate(convs, start=1):
            y = conv_norm(name, str(k), y, width, kernel, step)
            if k < len(convs):
                y = b.relu(f"{name}.act{k}", y)
        if stride != 1 or b.channels[x] != b.channels[y]:
            shortcut = conv_norm(f"{name}.shortcut", "", x, b.channels[y], 1, stride)
        return b.relu(f"{name}.act{len(convs)}", b.add(f"{name}.add", Add(), y, shortcut))

    x = b.relu("stem.act", conv_norm("stem", "", "input", config.width, 7, 2))
    skips = [x]
    x = b.add("stem.pool", WindowMaxPool(3, 2), b.add("stem.pad", Pad((1, 1)), x))
    for i, depth in enumerate(config.depths):
        for k in range(depth):
            x = residual_block(f"layers.{i}.{k}", x, config.width * 2**i, 2 if i and not k else 1)
        skips.append(x)
    skips.pop()
    for j, width in enumerate(config.decoder):
        name = f"decoder.{j}"
        x = b.add(f"{name}.up", NearestUpsample(2), x)
        x = b.concat(f"{name}.concat", x, skips.pop()) if skips else x
        for k in ("1", "2"):
            x = b.relu(f"{name}.act{k}", conv_norm(name, k, x, width, 3))
    b.conv("head", x, config.out_channels, 3)
    return b.graph()


_NARROW = ResNetUNetConfig(width=8, depths=(1, 1, 1, 1), decoder=(32, 16, 8, 8, 8))

FAMILY = Family(
    ResNetUNetConfig,
    when="Few labelled images, with a pretrained encoder; weights of segmentation_models.pytorch.",
    image_size=224,
    presets={"resnet34-unet": ResNetUNetConfig(), "resnet50-unet": ResNetUNetConfig(block="bottleneck")},
    narrow={"resnet34-unet": _NARROW, "resnet50-unet": _NARROW.replace(block="bottleneck")},
    tests={
        "resnet-unet": ResNetUNetConfig(width=2, depths=(1, 2, 1, 1), decoder=(6, 5, 4, 3, 2), out_channels=2),
        "resnet-unet-bottleneck": ResNetUNetConfig(
            block="bottleneck", width=2, depths=(1, 1, 2, 1), decoder=(4, 3, 4, 2, 3), in_channels=1
        ),
    },
)
