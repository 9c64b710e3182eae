"""SA-UNet (Guo et al. 2020, arXiv 2004.03696): a small U-Net with spatial attention in the bottleneck, and DropBlock.

    encoder.0 ───────── skip ────────▶ decoder.2 ─▶ head       blocks: twice 3x3 convolution, DropBlock, batch norm,
      └ pool ▶ encoder.1 ─ skip ─▶ decoder.1 ┘ up              ReLU; between the two convolutions of the bottleneck:
                 └ ... bottleneck ▶ ... ─────┘ up              x · σ(7x7 convolution of [mean, max] over channels)

It follows the authors' Keras code: [upsampled, skip], transposed 3x3 convolutions with the last row and column cropped,
eps 1e-3 and momentum 0.99. The final sigmoid is left out. The paper's figure shows the attention between encoder and
decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from ..ops import ChannelMax, ChannelMean, DropBlock, Multiply, Sigmoid
from .builder import Builder


@dataclass(frozen=True)
class SAUNetConfig(NetworkConfig, architecture="sa-unet"):
    """SA-UNet.

    Padding is always "same": the transposed 3x3 convolutions use zeros at the borders, and so does the attention's 7x7
    convolution, whose output must have the size of the map that it multiplies. Tiles are exact nevertheless.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level, from the finest to the bottleneck.
        keep: share of the pixels that DropBlock keeps in training; 1 for all.
        block: pixels per axis of the squares that it zeroes.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
    """

    in_channels: int = 3
    out_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128)
    spatial_dims: int = 2
    keep: float = 0.9
    block: int = 7
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)
        require(0 < self.keep <= 1, "keep", self.keep, "in (0, 1]")
        require(self.block >= 1 and self.block % 2 == 1, "block", self.block, "odd")

    def build(self) -> Graph:
        return build(self)


def build(config: SAUNetConfig) -> Graph:
    b = Builder(config.in_channels, config.spatial_dims)

    def layer(name: str, i: int, x: str, width: int) -> str:
        x = b.conv(f"{name}.conv{i}", x, width)
        if config.keep < 1:
            x = b.add(f"{name}.drop{i}", DropBlock(config.keep, config.block), x)
        x = b.batch_norm(f"{name}.norm{i}", x, config.norm_eps, config.norm_momentum)
        return b.relu(f"{name}.act{i}", x)

    def attention(name: str, x: str) -> str:
        pooled = b.add(f"{name}.mean", ChannelMean(), x), b.add(f"{name}.max", ChannelMax(), x)
        gate = b.conv(f"{name}.conv", b.concat(f"{name}.concat", *pooled), 1, 7, bias=False)
        return b.add(f"{name}.multiply", Multiply(), x, b.add(f"{name}.sigmoid", Sigmoid(), gate))

    x, skips = "input", []
    for i, width in enumerate(config.widths[:-1]):
        if i:
            x = b.max_pool(f"encoder.{i}.pool", x)
        for k in (1, 2):
            x = layer(f"encoder.{i}", k, x, width)
        skips.append(x)
    x = layer("bottleneck", 1, b.max_pool("bottleneck.pool", x), config.widths[-1])
    x = layer("bottleneck", 2, attention("bottleneck.attention", x), config.widths[-1])
    for i, width in enumerate(reversed(config.widths[:-1])):
        name = f"decoder.{i}"
        x = b.concat(f"{name}.concat", b.up_conv(f"{name}.up", x, width, 3, cut=(0, 1)), skips.pop())
        for k in (1, 2):
            x = layer(f"{name}.block", k, x, width)
    b.conv("head", x, config.out_channels, 1)
    return b.graph()


FAMILY = Family(
    SAUNetConfig,
    when="Thin structures such as vessels, few images, half a million parameters.",
    image_size=592,
    presets={"sa-unet": SAUNetConfig()},
    tests={
        "sa-unet-drop": SAUNetConfig(widths=(3, 4), block=3, out_channels=3),
        "sa-unet": SAUNetConfig(widths=(3, 4, 6), keep=1.0),
        "sa-unet-3d": SAUNetConfig(widths=(2, 3), spatial_dims=3, keep=1.0),
    },
    test_size=8,  # larger than DropBlock's square at the deepest level
)
