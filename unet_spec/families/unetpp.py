"""UNet++ (Zhou et al. 2018, arXiv 1807.10165): skips with nested convolution blocks.

X00 ─▶ X01 ─▶ X02 ─▶ X03 ─▶ X04 ─▶ head        Xi0 = block(pool(X(i−1, 0)))
  ↘   ↗  ↘   ↗  ↘   ↗  ↘   ↗                   Xij = block([X(i, 0) … X(i, j−1), up(X(i+1, j−1))])
  X10 ─▶ X11 ─▶ X12 ─▶ X13                     block: twice 3x3 convolution with bias, batch norm, ReLU
    ↘   ↗  ↘   ↗  ↘   ↗
    X20 ─▶ X21 ─▶ X22          With deep supervision, each of X01 … X04 has a head. The output is that of the
      ↘   ↗  ↘   ↗             last one; training averages the loss over all (section 3.2 of the paper).
      X30 ─▶ X31
        ↘   ↗                  Maps are upsampled by interpolation (aligned corners), as in the most used
        X40                    implementation; the paper's has transposed convolutions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..errors import InputError
from ..graph import Graph
from ..network import Family, NetworkConfig, require_norm, require_widths
from .builder import Builder

Tensor = TypeVar("Tensor")


@dataclass(frozen=True)
class UNetPPConfig(NetworkConfig, architecture="unet++"):
    """UNet++.

    Padding is always "same": without it, the maps that a node concatenates would have different margins, and the heads
    of deep supervision would cover different parts of the image.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level, from the finest to the coarsest.
        deep_supervision: whether every column has a head, not only the last.
        align_corners: alignment of the interpolation. True is the reference; only False can be tiled exactly.
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
    """

    in_channels: int = 3
    out_channels: int = 1
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    spatial_dims: int = 2
    deep_supervision: bool = False
    align_corners: bool = True
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)

    def build(self) -> Graph:
        return build(self)

    def pruned(self, level: int) -> UNetPPConfig:
        """The network L^level of the paper's figure 2, with the head of column `level`. Raises InputError."""
        if not self.deep_supervision or not 1 <= level < len(self.widths):
            raise InputError(
                f"cannot prune to level {level}: pruning needs deep_supervision and a level in 1 … "
                f"{len(self.widths) - 1}"
            )
        return dataclasses.replace(self, widths=self.widths[: level + 1], deep_supervision=False)

    def pruned_tensors(self, tensors: Mapping[str, Tensor], level: int) -> dict[str, Tensor]:
        """The tensors of `pruned(level)`, from those of this network; only the head's names differ."""
        names = self.pruned(level).graph.params
        return {name: tensors[name.replace("head.", f"heads.{level - 1}.")] for name in names}


def build(config: UNetPPConfig) -> Graph:
    """The graph, in the order in which the maps can be computed: X00, X10, X01, X20, X11, X02, ..."""
    b = Builder(config.in_channels, config.spatial_dims)
    levels = len(config.widths)
    maps: dict[tuple[int, int], str] = {}
    for diagonal in range(levels):
        for j in range(diagonal + 1):
            i = diagonal - j
            name, width = f"nodes.{i}.{j}", config.widths[i]
            if j:
                up = b.upsample(f"{name}.up", maps[i + 1, j - 1], align_corners=config.align_corners)
                x = b.concat(f"{name}.concat", *(maps[i, k] for k in range(j)), up)
            else:
                x = b.max_pool(f"{name}.pool", maps[i - 1, 0]) if i else "input"
            for k in (1, 2):
                x = b.conv(f"{name}.conv{k}", x, width)
                x = b.batch_norm(f"{name}.norm{k}", x, config.norm_eps, config.norm_momentum)
                x = b.relu(f"{name}.act{k}", x)
            maps[i, j] = x
    if not config.deep_supervision:
        b.conv("head", maps[0, levels - 1], config.out_channels, 1)
        return b.graph()
    heads = [b.conv(f"heads.{j - 1}", maps[0, j], config.out_channels, 1) for j in range(1, levels)]
    return b.graph(*heads[:-1])


FAMILY = Family(
    UNetPPConfig,
    when="Objects of very different sizes; a network that can be made smaller after training (`pruned`).",
    image_size=256,
    presets={"unet++": UNetPPConfig(), "unet++-deep": UNetPPConfig(deep_supervision=True)},
    tests={
        "unet++": UNetPPConfig(widths=(3, 4, 5), out_channels=2),
        "unet++-deep": UNetPPConfig(widths=(2, 3, 4, 5), deep_supervision=True, in_channels=1),
        "unet++-half-pixel": UNetPPConfig(widths=(4, 4), align_corners=False),
        "unet++-3d": UNetPPConfig(widths=(2, 3), spatial_dims=3),
    },
)
