"""UNet++ in Flax NNX. `unet_torch/families/unetpp.py` is the same in PyTorch.

UNet++ (Zhou et al. 2018, arXiv 1807.10165): skips that are networks themselves.

X00 ─▶ X01 ─▶ X02 ─▶ X03 ─▶ X04 ─▶ head        Xi0 = block(pool(X(i−1, 0)))
  ↘   ↗  ↘   ↗  ↘   ↗  ↘   ↗                   Xij = block([X(i, 0) … X(i, j−1), up(X(i+1, j−1))])
  X10 ─▶ X11 ─▶ X12 ─▶ X13                     block: twice 3x3 convolution with bias, batch norm, ReLU
    ↘   ↗  ↘   ↗  ↘   ↗
    X20 ─▶ X21 ─▶ X22          With deep supervision, each of X01 … X04 has a head of its own. The logits are
      ↘   ↗  ↘   ↗             those of the last; training averages the loss over all (the paper, section 3.2).
      X30 ─▶ X31
        ↘   ↗                  The map that comes up is interpolated (aligned corners), as in the implementation
        X40                    that most use; the paper's own has transposed convolutions there.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, MaxPool, Upsample, kept
from unet_jax.families.layers import Layers
from unet_jax.network import Loss, Network
from unet_spec.families import UNetPPConfig
from unet_spec.geometry import check_image


class NestedBlock(nnx.Module):
    """Twice: 3x3 convolution, batch norm, ReLU."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.conv1 = layers.conv(channels_in, width)
        self.norm1 = layers.batch_norm(width)
        self.act1 = Activation("relu")
        self.conv2 = layers.conv(width, width)
        self.norm2 = layers.batch_norm(width)
        self.act2 = Activation("relu")

    @kept
    def __call__(self, x: Array) -> Array:
        x = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(x)))


class PooledBlock(NestedBlock):
    """Half the size, then a block: the first column below the first row."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__(layers, channels_in, width)
        self.pool = MaxPool(layers.dims)

    def __call__(self, x: Array) -> Array:
        return super().__call__(self.pool(x))


class JoinedBlock(NestedBlock):
    """All maps of the row so far and the one from below, twice its size, joined; then a block."""

    def __init__(self, layers: Layers, channels_in: int, width: int, align_corners: bool):
        super().__init__(layers, channels_in, width)
        self.up = Upsample(layers.dims, align_corners)

    def __call__(self, row: list[Array], below: Array) -> Array:
        return super().__call__(jnp.concatenate([*row, self.up(below)], axis=-1))


class UNetPP(Network):
    """UNet++ (Zhou et al. 2018, arXiv 1807.10165): `nodes[i][j]` is the paper's X(i, j).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters and statistics.
    """

    config: UNetPPConfig

    def __init__(self, config: UNetPPConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype, config.norm_eps, config.norm_momentum)
        widths, levels = config.widths, len(config.widths)
        self.nodes = nnx.List([])
        for i in range(levels):
            above = widths[i - 1] if i else config.in_channels
            first = (PooledBlock if i else NestedBlock)(layers, above, widths[i])
            joined = [
                JoinedBlock(layers, j * widths[i] + widths[i + 1], widths[i], config.align_corners)
                for j in range(1, levels - i)
            ]
            self.nodes.append(nnx.List([first, *joined]))
        if config.deep_supervision:
            self.heads = nnx.List([layers.conv(widths[0], config.out_channels, 1) for _ in range(levels - 1)])
        else:
            self.head = layers.conv(widths[0], config.out_channels, 1)
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels): those of the last head."""
        row = self.features(image)
        return self.heads[-1](row[-1]) if self.config.deep_supervision else self.head(row[-1])

    def outputs(self, image: Array, rngs: nnx.Rngs | None = None) -> list[Array]:
        """The logits of every head, the last one last."""
        row = self.features(image)
        if not self.config.deep_supervision:
            return [self.head(row[-1])]
        return [head(x) for head, x in zip(self.heads, row[1:], strict=True)]

    def loss(self, of: Loss, image: Array, labels: Array, weights: Array | None, rngs: nnx.Rngs) -> Array:
        """The mean of `of` every head's logits (deep supervision; the paper, section 3.2)."""
        losses = [of(logits, labels, weights) for logits in self.outputs(image)]
        return sum(losses[1:], losses[0]) / len(losses)

    def features(self, image: Array) -> list[Array]:
        """The first row of maps, X(0, 0) … X(0, n − 1)."""
        check_image(self.config.graph, image.shape)
        rows: list[list[Array]] = []
        for i, blocks in enumerate(self.nodes):
            rows.append([blocks[0](rows[i - 1][0] if i else image)])
            for j in range(1, i + 1):
                k = i - j
                rows[k].append(self.nodes[k][j](rows[k], rows[k + 1][j - 1]))
        return rows[0]
