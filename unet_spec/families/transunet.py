"""TransUNet (Chen et al. 2021, arXiv 2102.04306), R50-ViT-B/16: a ResNet, a transformer on its output, a decoder with
skips.

    image ─▶ root 7x7/2 ── skip ───────────────────────────────────────▶ decoder.2 ─▶ decoder.3 ─▶ head
               └ pool ▶ stages.0 ── skip ──────────────────▶ decoder.1 ──┘ up
                          └▶ stages.1 ── skip ─▶ decoder.0 ──┘ up
                               └▶ stages.2 ─▶ patch ─▶ + position ─▶ layers ─▶ norm ─▶ more ┘ up

    stages: bottlenecks of weight-standardised convolutions with group norm (3, 4 and 9 of them)
    layers: x + attention(norm(x)), then x + mlp(norm(x)); every pixel of the 1/16 map is a token
    decoder: twice the size (bilinear, aligned corners), [·, skip], twice 3x3 convolution, batch norm, ReLU

It follows the authors' code: the pooling after the root has no padding, so that the map is one pixel too small, and a
row and a column of zeros are added to it for the skip; the norms of projected shortcuts have one group per channel.
Differences: for another size than `grid`, the position vectors are interpolated at run time (by the authors once, on
loading). A grey image is one channel, not three copies. The paper's figure has no norms in the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm
from ..ops import (
    Activation,
    Add,
    Attention,
    Dropout,
    GroupNorm,
    LayerNorm,
    Linear,
    PadEnd,
    PositionEmbedding,
    StdConv,
    WindowMaxPool,
)
from .builder import Builder

STRIDE = 16
"""Pixels of the image per token and axis."""


@dataclass(frozen=True)
class TransUNetConfig(NetworkConfig, architecture="transunet"):
    """TransUNet, for images whose sizes are multiples of 16.

    Padding is always "same": every token depends on the whole image, so that valid convolutions would not make tiles
    exact.

    Attributes:
        in_channels, out_channels: as in every network.
        width: feature maps of the root; the stages have 4, 8 and 16 times as many.
        units: bottlenecks in each of the three stages.
        groups: groups of the group norms; must divide the width.
        hidden: features of a token.
        layers, heads, mlp: layers of the transformer, its attention heads, and the hidden features of its MLP.
        grid: tokens per axis for which there are position vectors: image size / 16.
        more: feature maps between transformer and decoder.
        decoder: feature maps of the four decoder blocks; the first three have skips.
        dropout: rate after the position vectors and in the MLP.
        norm_eps, norm_momentum: constants of the decoder's batch norms (momentum in PyTorch's convention).
    """

    spatial_dims: ClassVar[int] = 2  # pyright: ignore[reportIncompatibleVariableOverride]
    in_channels: int = 3
    out_channels: int = 9
    width: int = 64
    units: tuple[int, ...] = (3, 4, 9)
    groups: int = 32
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    mlp: int = 3072
    grid: tuple[int, ...] = (14, 14)
    more: int = 512
    decoder: tuple[int, ...] = (256, 128, 64, 16)
    dropout: float = 0.1
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def validate(self) -> None:
        for name in ("width", "groups", "hidden", "layers", "heads", "mlp", "more"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name, count in (("units", 3), ("grid", 2), ("decoder", 4)):
            value = getattr(self, name)
            require(len(value) == count and min(value) >= 1, name, value, f"{count} numbers above 0")
        require(self.width % self.groups == 0, "groups", self.groups, f"a divisor of the width, {self.width}")
        require(self.hidden % self.heads == 0, "heads", self.heads, f"a divisor of hidden, {self.hidden}")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        require_norm(self.norm_eps, self.norm_momentum)

    def build(self) -> Graph:
        return build(self)


GROUP_EPS, PROJECTION_EPS, LAYER_EPS = 1e-6, 1e-5, 1e-6
"""Constants added to the variance in group norms, in those of projected shortcuts, and in layer norms."""


def build(config: TransUNetConfig) -> Graph:
    b = Builder(config.in_channels, 2, multiple=STRIDE)

    def std_conv(name: str, x: str, out: int, kernel: int, stride: int = 1) -> str:
        window, strides, pads = ((n, n) for n in (kernel, stride, (kernel - 1) // 2))
        return b.add(name, StdConv(b.channels[x], out, window, strides, pads, False), x)

    def group_norm(name: str, x: str) -> str:
        return b.add(name, GroupNorm(b.channels[x], GROUP_EPS, config.groups), x)

    def bottleneck(name: str, x: str, out: int, stride: int) -> str:
        inner, shortcut = out // 4, x
        if stride > 1 or b.channels[x] != out:
            shortcut = std_conv(f"{name}.project", x, out, 1, stride)
            shortcut = b.add(f"{name}.project_norm", GroupNorm(out, PROJECTION_EPS, out), shortcut)
        for k, (kernel, width, step) in enumerate(((1, inner, 1), (3, inner, stride), (1, out, 1)), start=1):
            x = group_norm(f"{name}.norm{k}", std_conv(f"{name}.conv{k}", x, width, kernel, step))
            if k < 3:
                x = b.relu(f"{name}.act{k}", x)
        return b.relu(f"{name}.act3", b.add(f"{name}.add", Add(), shortcut, x))

    def conv_block(name: str, k: str, x: str, out: int) -> str:
        x = b.conv(f"{name}.conv{k}", x, out, bias=False)
        x = b.batch_norm(f"{name}.norm{k}", x, config.norm_eps, config.norm_momentum)
        return b.relu(f"{name}.act{k}", x)

    def drop(name: str, x: str) -> str:
        return b.add(name, Dropout(config.dropout), x) if config.dropout else x

    def linear(name: str, x: str, out: int) -> str:
        return b.add(name, Linear(b.channels[x], out), x)

    def layer_norm(name: str, x: str) -> str:
        return b.add(name, LayerNorm(config.hidden, LAYER_EPS), x)

    def layer(name: str, x: str) -> str:
        y = layer_norm(f"{name}.norm1", x)
        qkv = [linear(f"{name}.attention.{part}", y, config.hidden) for part in ("query", "key", "value")]
        y = b.add(f"{name}.attention.product", Attention(config.hidden, config.heads), *qkv)
        x = b.add(f"{name}.add1", Add(), x, linear(f"{name}.attention.out", y, config.hidden))
        y = linear(f"{name}.mlp.fc1", layer_norm(f"{name}.norm2", x), config.mlp)
        y = drop(f"{name}.mlp.drop1", b.add(f"{name}.mlp.act", Activation("gelu"), y))
        y = drop(f"{name}.mlp.drop2", linear(f"{name}.mlp.fc2", y, config.hidden))
        return b.add(f"{name}.add2", Add(), x, y)

    x = b.relu("root.act", group_norm("root.norm", std_conv("root.conv", "input", config.width, 7, 2)))
    skips = [x]
    x = b.add("root.pool", WindowMaxPool(3, 2), x)
    for i, units in enumerate(config.units):
        for k in range(units):
            x = bottleneck(f"stages.{i}.{k}", x, config.width * 4 * 2**i, 2 if i and not k else 1)
        skips.append(b.add("complete", PadEnd(1), x) if i == 0 else x)
    skips.pop()
    x = b.conv("patch", x, config.hidden, 1)
    x = drop("dropout", b.add("position", PositionEmbedding(config.hidden, config.grid), x))
    for i in range(config.layers):
        x = layer(f"layers.{i}", x)
    x = conv_block("more", "", layer_norm("norm", x), config.more)
    for i, width in enumerate(config.decoder):
        x = b.upsample(f"decoder.{i}.up", x)
        if skips:
            x = b.concat(f"decoder.{i}.concat", x, skips.pop())
        for k in ("1", "2"):
            x = conv_block(f"decoder.{i}", k, x, width)
    b.conv("head", x, config.out_channels, 3)
    return b.graph()


_TEST = TransUNetConfig(
    width=4, groups=2, units=(1, 2, 1), hidden=8, layers=2, heads=2, mlp=12, grid=(2, 3), more=6, decoder=(5, 4, 3, 3)
)
"""For the tests' images of 2x3 tokens, its position vectors are used directly; with a grid of (3, 2), interpolated."""

FAMILY = Family(
    TransUNetConfig,
    when="Relations across the whole image, if a pretrained encoder or many images are available.",
    image_size=224,
    presets={"transunet": TransUNetConfig()},
    narrow={
        "transunet": TransUNetConfig(
            width=8,
            groups=4,
            units=(1, 2, 2),
            hidden=64,
            layers=2,
            heads=4,
            mlp=128,
            grid=(15, 15),
            more=32,
            decoder=(32, 16, 8, 8),
        )
    },
    tests={
        "transunet-drop": _TEST.replace(
            groups=4, units=(1, 1, 1), hidden=6, layers=1, heads=3, mlp=8, grid=(3, 2), more=4, decoder=(4, 4, 4, 2)
        ).replace(in_channels=1, out_channels=1, dropout=0.2),
        "transunet": _TEST.replace(out_channels=3, dropout=0.0),
    },
)
