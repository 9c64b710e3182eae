"""Blocks that several networks share, in Flax NNX. `unet_torch/nn/blocks.py` is the same file in PyTorch.

Arrays are channels-last, (N, *spatial, C). Every attribute that is a layer carries the name of a node of the graph:
these names are the checkpoint's. Blocks that may contain dropout take `rngs`, its random numbers in training mode.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from .layers import Layers
from .pointwise import Identity
from .remat import remat_boundary
from .spatial import Sizes, center_crop, center_pad, per_axis


class ConvUnit(nnx.Module):
    """Convolution, norm, activation; with `bare`, the convolution only."""

    def __init__(
        self,
        layers: Layers,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 3,
        stride: Sizes = 1,
        bare: bool = False,
    ):
        self.conv = layers.conv(channels_in, channels_out, kernel, stride, bias=layers.bias)
        self.norm = Identity() if bare else layers.norm(channels_out)
        self.act = Identity() if bare else layers.act()

    @remat_boundary
    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *out k"]:
        return self.act(self.norm(self.conv(x)))


class TwoConvs(nnx.Module):
    """Two times 3x3 convolution, norm, activation; then dropout, if any. Base class of the blocks below.

    Args:
        middle: channels between the two convolutions; None: as many as the output has.
        stride: stride of the first convolution.
    """

    def __init__(
        self,
        layers: Layers,
        channels_in: int,
        channels_out: int,
        middle: int | None = None,
        stride: int = 1,
        dropout: float = 0.0,
    ):
        middle = middle or channels_out
        self.conv1 = layers.conv(channels_in, middle, stride=stride, bias=layers.bias)
        self.norm1 = layers.norm(middle)
        self.act1 = layers.act()
        self.conv2 = layers.conv(middle, channels_out, bias=layers.bias)
        self.norm2 = layers.norm(channels_out)
        self.act2 = layers.act()
        self.dropout = layers.dropout(dropout)

    @remat_boundary
    def convolve(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *out k"]:
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.dropout(x, rngs=rngs)


class ConvBlock(TwoConvs):
    """Two times 3x3 convolution, norm, activation."""

    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *out k"]:
        return self.convolve(x, rngs)


class DownBlock(TwoConvs):
    """Max-pooling to half the size, then two convolutions. Arguments as for `TwoConvs`."""

    def __init__(self, layers: Layers, *args: Any, **kwargs: Any):
        super().__init__(layers, *args, **kwargs)
        self.pool = layers.max_pool()

    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *out k"]:
        return self.convolve(self.pool(x), rngs)


class UpBlock(nnx.Module):
    """Upsamples the map, concatenates it with the skip, then applies a block.

    Args:
        up: the upsampling layer.
        block: a block for the channels of both.
        merge: if the sizes differ, "crop" the skip or "pad" the upsampled map with zeros; None: they never differ.
        skip_first: concatenate as [skip, upsampled] instead of [upsampled, skip].
    """

    def __init__(
        self,
        up: nnx.Module,
        block: nnx.Module,
        merge: Literal["crop", "pad"] | None = None,
        skip_first: bool = False,
    ):
        self.up, self.block, self.merge, self.skip_first = up, block, merge, skip_first

    def __call__(
        self, x: Float[Array, "n *low c"], skip: Float[Array, "n *high k"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "n *out m"]:
        x = self.up(x)
        if self.merge == "crop":
            skip = center_crop(skip, like=x)
        elif self.merge == "pad":
            x = center_pad(x, like=skip)
        return self.block(jnp.concatenate([skip, x] if self.skip_first else [x, skip], axis=-1), rngs)


class UpConvBlock(TwoConvs):
    """Upsamples the map by `up`, concatenates it with the skip, if any, as [upsampled, skip]; then two convolutions,
    which are attributes of this module."""

    def __init__(self, layers: Layers, up: nnx.Module, channels_in: int, channels_out: int):
        super().__init__(layers, channels_in, channels_out)
        self.up = up

    def __call__(
        self, x: Float[Array, "n *low c"], skip: Float[Array, "n *high k"] | None = None
    ) -> Float[Array, "n *high m"]:
        x = self.up(x)
        return self.convolve(x if skip is None else jnp.concatenate([x, skip], axis=-1))


class Shortcut(nnx.Module):
    """The shortcut of a residual block: its input, brought to the size and width of the output.

    Args:
        stride: factor by which the block shrinks its input.
        pool: whether average pooling shrinks the input, instead of the stride of the 1x1 convolution.
    """

    def __init__(self, layers: Layers, channels_in: int, channels_out: int, stride: Sizes = 1, pool: bool = False):
        window = per_axis(stride, layers.dims)
        shrinks = max(window) > 1
        self.pool = layers.avg_pool(window) if shrinks and pool else Identity()
        if channels_in != channels_out or (shrinks and not pool):
            self.conv = layers.conv(channels_in, channels_out, 1, 1 if pool else window, bias=False)
            self.norm = layers.norm(channels_out)
        else:
            self.conv, self.norm = Identity(), Identity()

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *out k"]:
        return self.norm(self.conv(self.pool(x)))
