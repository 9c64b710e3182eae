"""M-Net (Fu et al. 2018, arXiv 1801.00926): a U-Net with an input and an output at every scale.

    image ─────────────▶ encoder.0 ──── skip ────▶ decoder.3 ─▶ heads.3 ─┐
      └ average ▶ conv ─▶ [·, pool] encoder.1 ─▶ decoder.2 ┘ up ▶ heads.2 ┤ mean ─▶ logits
          └ average ▶ conv ─▶ [·, pool] ... ─────▶ ...     ┘ up ▶ ...     ┘
                                                          heads: nearest-neighbour upsampling, 1x1 convolution

blocks: twice 3x3 convolution with bias, ReLU. The encoder concatenates [image, pooled], the decoder [upsampled, skip].

It follows the authors' Keras code, which averages the auxiliary outputs after their sigmoids; here logits are averaged.
The paper's polar transform of the image is not part of the network.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph
from ..network import Family, NetworkConfig, require_widths
from ..ops import Average, NearestUpsample
from .builder import Builder


@dataclass(frozen=True)
class MNetConfig(NetworkConfig, architecture="m-net"):
    """M-Net.

    Padding is always "same": without it, from the third level on, the averaged image and the pooled map that are
    concatenated would be half a pixel apart. Tiles are exact nevertheless.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level, from the finest to the bottleneck, which has no image input.
    """

    in_channels: int = 3
    out_channels: int = 2
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    spatial_dims: int = 2

    def validate(self) -> None:
        require_widths(self.widths)

    def build(self) -> Graph:
        return build(self)


def build(config: MNetConfig) -> Graph:
    b = Builder(config.in_channels, config.spatial_dims)

    def block(name: str, x: str, width: int) -> str:
        for k in (1, 2):
            x = b.relu(f"{name}.act{k}", b.conv(f"{name}.conv{k}", x, width))
        return x

    x, image, skips = "input", "input", []
    last = len(config.widths) - 1
    for i, width in enumerate(config.widths):
        name = f"encoder.{i}"
        if i:
            x = b.max_pool(f"{name}.pool", x)
        if 0 < i < last:
            image = b.avg_pool(f"{name}.image_pool", image)
            features = b.relu(f"{name}.image_act", b.conv(f"{name}.image_conv", image, width))
            x = b.concat(f"{name}.concat", features, x)
        x = block(name, x, width)
        skips.append(x)
    skips.pop()
    sides = []
    for i, width in enumerate(reversed(config.widths[:-1])):
        up = b.up_conv(f"decoder.{i}.up", x, width)
        x = block(f"decoder.{i}.block", b.concat(f"decoder.{i}.concat", up, skips.pop()), width)
        scale = 2 ** (last - 1 - i)
        side = b.add(f"heads.{i}.up", NearestUpsample(scale), x) if scale > 1 else x
        sides.append(b.conv(f"heads.{i}.conv", side, config.out_channels, 1))
    b.add("mean", Average(), *sides)
    return b.graph(*sides)


FAMILY = Family(
    MNetConfig,
    when="Objects whose outline is visible at low resolution; auxiliary outputs at every resolution.",
    image_size=400,
    presets={"m-net": MNetConfig()},
    tests={
        "m-net": MNetConfig(widths=(3, 4, 5, 6)),
        "m-net-3d": MNetConfig(widths=(2, 3, 4), spatial_dims=3, in_channels=1),
    },
)
