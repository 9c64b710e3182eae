"""FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038): a fully convolutional VGG-16 with additive skips.

    stages.0 ─▶ stages.1 ─▶ stages.2 ──────────▶ stages.3 ──────▶ stages.4 ─▶ fc6 ─▶ fc7 ─▶ score_fr
                               └ score_pool3 ─┐     └ score_pool4 ─┐                          │
    logits ◀─ cut ◀─ upscore8 ◀───────────────+ ◀─ upscore_pool4 ◀─+ ◀──────── upscore2 ◀─────┘

FCN adds class scores where the U-Net concatenates features. The first convolution is padded by 100 so that even a small
image is large enough for fc6 (7x7, no padding), and pooling windows may overhang the map. The excess is cropped: 5 from
the scores of pool4, 9 from those of pool3, 31 from the result. Any image size fits.

It follows the authors' Caffe model and has the layer names of pytorch-fcn. The interpolating transposed convolutions
are fixed unless `learn_upsampling` is set. Here all stages are trained together; in the paper, one after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..graph import Graph
from ..network import Family, NetworkConfig, require
from ..ops import Add, BilinearConvTranspose, Conv, CropLike, Dropout, WindowMaxPool
from .builder import Builder

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""3x3 convolutions of the five stages of VGG-16 (Simonyan and Zisserman 2015, configuration D)."""
FIRST_PADDING = 100
UPSCORE = {"upscore2": (4, 2), "upscore_pool4": (4, 2), "upscore8": (16, 8)}
"""Kernel sizes and strides of the transposed convolutions."""
OFFSETS = {"score_pool4": 5, "score_pool3": 9, "upscore8": 31}
"""Offsets of the crops."""


@dataclass(frozen=True)
class FCN8sConfig(NetworkConfig, architecture="fcn-8s"):
    """FCN-8s, for images.

    The padding of 100 is part of the network: the offsets 5, 9 and 31 depend on it.

    Attributes:
        in_channels, out_channels: as in every network.
        widths: feature maps of the five stages.
        hidden: feature maps of fc6 and fc7.
        dropout: rate after fc6 and fc7.
        learn_upsampling: whether the transposed convolutions, which are initialised as interpolation, are trained.
    """

    spatial_dims: ClassVar[int] = 2  # pyright: ignore[reportIncompatibleVariableOverride]
    in_channels: int = 3
    out_channels: int = 21
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    dropout: float = 0.5
    learn_upsampling: bool = False

    def validate(self) -> None:
        require(len(self.widths) == 5 and min(self.widths) >= 1, "widths", self.widths, "five numbers above 0")
        require(self.hidden >= 1, "hidden", self.hidden, "at least 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")

    def build(self) -> Graph:
        return build(self)


def build(config: FCN8sConfig) -> Graph:
    b = Builder(config.in_channels, 2)
    classes = config.out_channels

    def up(name: str, x: str) -> str:
        window, stride = ((n, n) for n in UPSCORE[name])
        return b.add(
            name, BilinearConvTranspose(classes, classes, window, stride, fixed=not config.learn_upsampling), x
        )

    def cut(name: str, x: str, like: str) -> str:
        return b.add(f"{name}_cut", CropLike(OFFSETS[name]), x, like)

    x, pooled = "input", []
    for i, (width, count) in enumerate(zip(config.widths, CONVOLUTIONS, strict=True)):
        for k in range(count):
            pad = FIRST_PADDING if i == k == 0 else 1
            conv = Conv(b.channels[x], width, (3, 3), (1, 1), (pad, pad))
            x = b.relu(f"stages.{i}.acts.{k}", b.add(f"stages.{i}.convs.{k}", conv, x))
        x = b.add(f"stages.{i}.pool", WindowMaxPool(2, 2, ceil=True), x)
        pooled.append(x)
    for name, kernel in (("fc6", 7), ("fc7", 1)):
        conv = Conv(b.channels[x], config.hidden, (kernel,) * 2, (1, 1), (0, 0))
        x = b.relu(f"{name}_act", b.add(name, conv, x))
        x = b.add(f"{name}_drop", Dropout(config.dropout), x) if config.dropout else x
    x = up("upscore2", b.conv("score_fr", x, classes, 1))
    side = cut("score_pool4", b.conv("score_pool4", pooled[3], classes, 1), x)
    x = up("upscore_pool4", b.add("fuse_pool4", Add(), x, side))
    side = cut("score_pool3", b.conv("score_pool3", pooled[2], classes, 1), x)
    x = up("upscore8", b.add("fuse_pool3", Add(), x, side))
    cut("upscore8", x, "input")
    return b.graph()


FAMILY = Family(
    FCN8sConfig,
    when="The comparison: class scores added, where the U-Net concatenates features.",
    image_size=500,
    presets={"fcn-8s": FCN8sConfig()},
    narrow={"fcn-8s": FCN8sConfig(widths=(8, 16, 32, 64, 64), hidden=128)},
    tests={
        "fcn-8s": FCN8sConfig(widths=(2, 3, 4, 4, 5), hidden=6, out_channels=3, dropout=0.0),
        "fcn-8s-learned": FCN8sConfig(
            widths=(2, 2, 3, 3, 3), hidden=4, out_channels=2, in_channels=1, learn_upsampling=True
        ),
    },
    test_size=33,
)
