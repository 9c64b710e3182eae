"""MONAI's UNet in Flax NNX. `unet_torch/families/monai_unet.py` is the same in PyTorch.

For the figure and the departures from the paper, see `unet_spec/families/monai_unet.py`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unet_spec.families.monai_unet import MonaiUNetConfig, up_cut

from ..network import Network
from ..nn.blocks import ConvUnit
from ..nn.layers import Layers
from ..nn.pointwise import Identity
from ..nn.remat import remat_boundary
from ..registry import register
from ..shapes import Image, Logits

NORMS = {"instance": "plain", "affine": "instance", "batch": "batch"}
"""The norms of `unet_jax.nn.layers` by their names in the config."""


class ResidualUnit(nnx.Module):
    """Several units, the first with the stride, plus a shortcut."""

    def __init__(self, layers: Layers, count: int, channels_in: int, width: int, kernel: int, stride: int):
        self.units = nnx.List([ConvUnit(layers, channels_in, width, kernel, stride)])
        self.units.extend(ConvUnit(layers, width, width, kernel) for _ in range(count - 1))
        if stride != 1 or channels_in != width:
            window = 1 if stride == 1 else kernel
            self.shortcut = layers.conv(channels_in, width, window, stride, bias=layers.bias)
        else:
            self.shortcut = Identity()

    @remat_boundary
    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *out k"]:
        y = x
        for unit in self.units:
            y = unit(y)
        return y + self.shortcut(x)


class UpUnit(nnx.Module):
    """Transposed convolution, norm, activation; with `bare`, the convolution only."""

    def __init__(self, layers: Layers, channels_in: int, width: int, kernel: int, stride: int, bare: bool):
        self.conv = layers.up_conv(channels_in, width, kernel, stride, up_cut(kernel, stride), layers.bias)
        self.norm = Identity() if bare else layers.norm(width)
        self.act = Identity() if bare else layers.act()

    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *enlarged k"]:
        return self.act(self.norm(self.conv(x)))


class ResidualUpBlock(nnx.Module):
    """Upsamples [skip, input from below]; with residual units, adds a unit and its input. `top`: computes the
    logits."""

    def __init__(self, layers: Layers, config: MonaiUNetConfig, channels_in: int, width: int, stride: int, top: bool):
        self.residual = config.units > 0
        self.up = UpUnit(layers, channels_in, width, config.up_kernel, stride, bare=top and not self.residual)
        if self.residual:
            self.unit = ConvUnit(layers, width, width, config.kernel, bare=top)

    @remat_boundary
    def __call__(
        self, x: Float[Array, "n *spatial c"], skip: Float[Array, "n *spatial k"]
    ) -> Float[Array, "n *enlarged m"]:
        x = self.up(jnp.concatenate([skip, x], axis=-1))
        return self.unit(x) + x if self.residual else x


@register(MonaiUNetConfig)
class MonaiUNet(Network):
    """MONAI's UNet. Arguments as for `UNet`."""

    config: MonaiUNetConfig

    def __init__(self, config: MonaiUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config, dtype, norm=NORMS[config.norm], bias=config.bias)
        widths, self.encoder, self.decoder = config.widths, nnx.List([]), nnx.List([])
        ins, strides = (config.in_channels, *widths[:-1]), (*config.strides, 1)
        for channels_in, width, stride in zip(ins, widths, strides, strict=True):
            if config.units:
                unit = ResidualUnit(layers, config.units, channels_in, width, config.kernel, stride)
            else:
                unit = ConvUnit(layers, channels_in, width, config.kernel, stride)
            self.encoder.append(unit)
        below = widths[-1]
        for i in reversed(range(len(config.strides))):
            width, stride = widths[i - 1] if i else config.out_channels, strides[i]
            self.decoder.append(ResidualUpBlock(layers, config, widths[i] + below, width, stride, top=i == 0))
            below = width
        self.initialize(seed, dtype)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        self.check(image)
        x, skips = image, []
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop())
        return x
