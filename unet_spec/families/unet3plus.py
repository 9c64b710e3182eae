"""UNet 3+ (Huang et al. 2020, arXiv 2004.08790): every decoder node uses the maps of every scale.

    E0 ─▶ E1 ─▶ E2 ─▶ E3             Ei = block(pool(E(i−1))): twice 3x3 convolution with bias, batch norm, ReLU
     ║     ║     ║     ║ ╲
     ║     ║     ║     ║  E4 = D4    ║: to the node below and, pooled, to all on its right
     ║     ║     ║     ║ ╱
    D0 ◀─ D1 ◀─ D2 ◀─ D3             ◀: to the next node and, enlarged further, to all on its left; so does E4
     └ head
                                     Di = unit([b(E0) … b(Ei), b(D(i+1)) … b(D4)])

    b     the map resized to Di's size, by max-pooling or linear interpolation, then 3x3 convolution with bias to
          `cat_channels` maps, batch norm, ReLU
    unit  3x3 convolution with bias, batch norm, ReLU; number of branches times `cat_channels` maps
    head  3x3 convolution

The branches are concatenated by level, the finest first. With deep supervision, D4 … D0 each have a head, whose logits
are interpolated to the image's size. The output is that of D0; training averages the loss over all heads.

Differences from the paper: the loss is the trainer's, not the sum of focal, MS-SSIM and IoU loss. The optional
classification-guided module is left out, since it needs a second loss, on labels of whole images.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from .builder import Builder


@dataclass(frozen=True)
class UNet3PlusConfig(NetworkConfig, architecture="unet3+"):
    """UNet 3+.

    Padding is always "same": without it, the maps that a node concatenates would have different margins.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps of the encoder per level, from the finest to the bottleneck.
        cat_channels: feature maps of each branch; a decoder node has this number times the number of levels.
        deep_supervision: whether the bottleneck and every decoder node have a head, not only the finest node.
        align_corners: alignment of the interpolation. Only False, which is usual in implementations, can be tiled
            exactly.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
    """

    in_channels: int = 3
    out_channels: int = 1
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    cat_channels: int = 64
    spatial_dims: int = 2
    deep_supervision: bool = False
    align_corners: bool = False
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def validate(self) -> None:
        require_widths(self.widths)
        require(self.cat_channels >= 1, "cat_channels", self.cat_channels, "at least 1")
        require_norm(self.norm_eps, self.norm_momentum)

    def build(self) -> Graph:
        return build(self)


def build(config: UNet3PlusConfig) -> Graph:
    b = Builder(config.in_channels, config.spatial_dims)
    last = len(config.widths) - 1

    def unit(name: str, x: str, width: int, k: str = "") -> str:
        x = b.conv(f"{name}.conv{k}", x, width)
        return b.relu(f"{name}.act{k}", b.batch_norm(f"{name}.norm{k}", x, config.norm_eps, config.norm_momentum))

    def resize(name: str, x: str, steps: int) -> str:
        """Resizes a map by 2^steps; negative steps shrink it."""
        if steps < 0:
            return b.max_pool(name, x, 2**-steps)
        return b.upsample(name, x, 2**steps, config.align_corners) if steps else x

    x, maps = "input", []
    for level, width in enumerate(config.widths):
        if level:
            x = b.max_pool(f"encoder.{level}.pool", x)
        x = unit(f"encoder.{level}", unit(f"encoder.{level}", x, width, "1"), width, "2")
        maps.append(x)
    for i, level in enumerate(
        reversed(range(last))
    ):  # maps[level + 1:] are those of the decoder, the others of the encoder
        name = f"decoder.{i}"
        branches = [
            unit(f"{name}.branches.{j}", resize(f"{name}.branches.{j}.resize", x, j - level), config.cat_channels)
            for j, x in enumerate(maps)
        ]
        x = b.concat(f"{name}.concat", *branches)
        maps[level] = unit(name, x, b.channels[x])
    if not config.deep_supervision:
        b.conv("head", maps[0], config.out_channels)
        return b.graph()
    heads = [
        resize(f"heads.{i}.resize", b.conv(f"heads.{i}.conv", maps[level], config.out_channels), level)
        for i, level in enumerate(reversed(range(last + 1)))
    ]
    return b.graph(*heads[:-1])


FAMILY = Family(
    UNet3PlusConfig,
    when="Objects of very different sizes whose borders matter, with fewer parameters than the U-Net, but more work.",
    image_size=320,
    presets={"unet3+": UNet3PlusConfig(), "unet3+-deep": UNet3PlusConfig(deep_supervision=True)},
    narrow={
        "unet3+": UNet3PlusConfig(widths=(8, 16, 32, 64), cat_channels=8),
        "unet3+-deep": UNet3PlusConfig(widths=(8, 16, 32, 64), cat_channels=8, deep_supervision=True),
    },
    tests={
        "unet3+": UNet3PlusConfig(widths=(3, 4, 5), cat_channels=2, out_channels=2),
        "unet3+-deep": UNet3PlusConfig(widths=(2, 3, 4, 5), cat_channels=2, deep_supervision=True, in_channels=1),
        "unet3+-aligned": UNet3PlusConfig(widths=(4, 4, 4), cat_channels=4, align_corners=True),
        "unet3+-3d": UNet3PlusConfig(widths=(2, 3, 4), cat_channels=2, spatial_dims=3),
    },
)
