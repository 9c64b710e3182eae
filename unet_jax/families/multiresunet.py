"""MultiResUNet in Flax NNX. `unet_torch/families/multiresunet.py` is the same in PyTorch.

For the figure and the departures from the paper, see `unet_spec/families/multiresunet.py`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from unet_spec.families.multiresunet import MultiResUNetConfig, block_widths

from ..network import Network
from ..nn.blocks import UpBlock
from ..nn.layers import Layers
from ..nn.pointwise import Identity
from ..nn.remat import remat_boundary
from ..nn.spatial import center_crop
from ..registry import register
from ..shapes import Image, Logits


class MultiResBlock(nnx.Module):
    """Three successive convolutions, concatenated, plus a 1x1 convolution of the input. `pool`: halves the input
    first."""

    def __init__(self, layers: Layers, channels_in: int, widths: tuple[int, int, int], pool: bool = False):
        a, b, c = widths
        self.pool = layers.max_pool() if pool else Identity()
        self.shortcut = layers.conv(channels_in, a + b + c, 1, bias=False)
        self.shortcut_norm = layers.norm(a + b + c, "shift")
        self.conv3 = layers.conv(channels_in, a, bias=False)
        self.conv3_norm = layers.norm(a, "shift")
        self.conv3_act = layers.act()
        self.conv5 = layers.conv(a, b, bias=False)
        self.conv5_norm = layers.norm(b, "shift")
        self.conv5_act = layers.act()
        self.conv7 = layers.conv(b, c, bias=False)
        self.conv7_norm = layers.norm(c, "shift")
        self.conv7_act = layers.act()
        self.norm1 = layers.norm(a + b + c)
        self.act = layers.act()
        self.norm2 = layers.norm(a + b + c)

    @remat_boundary
    def __call__(self, x: Float[Array, "n *spatial c"], rngs: nnx.Rngs | None = None) -> Float[Array, "n *out k"]:
        x = self.pool(x)
        x3 = self.conv3_act(self.conv3_norm(self.conv3(x)))
        x5 = self.conv5_act(self.conv5_norm(self.conv5(x3)))
        x7 = self.conv7_act(self.conv7_norm(self.conv7(x5)))
        joined = self.norm1(jnp.concatenate([center_crop(x3, x7), center_crop(x5, x7), x7], axis=-1))
        shortcut = self.shortcut_norm(self.shortcut(center_crop(x, x7)))
        return self.norm2(self.act(shortcut + joined))


class PathStep(nnx.Module):
    """A 3x3 convolution plus a 1x1 convolution of the same input."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        self.shortcut = layers.conv(channels_in, width, 1, bias=False)
        self.shortcut_norm = layers.norm(width, "shift")
        self.conv = layers.conv(channels_in, width, bias=False)
        self.conv_norm = layers.norm(width, "shift")
        self.conv_act = layers.act()
        self.act = layers.act()
        self.norm = layers.norm(width)

    @remat_boundary
    def __call__(self, x: Float[Array, "n *spatial c"]) -> Float[Array, "n *out k"]:
        y = self.conv_act(self.conv_norm(self.conv(x)))
        shortcut = self.shortcut_norm(self.shortcut(center_crop(x, y)))
        return self.norm(self.act(shortcut + y))


@register(MultiResUNetConfig)
class MultiResUNet(Network):
    """MultiResUNet (Ibtehaz and Rahman 2019, arXiv 1902.04049). Arguments as for `UNet`."""

    config: MultiResUNetConfig

    def __init__(self, config: MultiResUNetConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config, dtype)
        widths, last = config.widths, len(config.widths) - 1
        parts = [block_widths(width, config.alpha) for width in widths]
        out = [sum(part) for part in parts]
        ins = (config.in_channels, *out)
        self.encoder = nnx.List([MultiResBlock(layers, ins[i], parts[i], pool=i > 0) for i in range(last + 1)])
        self.paths = nnx.List(
            [
                nnx.List([PathStep(layers, widths[i] if k else out[i], widths[i]) for k in range(last - i)])
                for i in range(last)
            ]
        )
        self.decoder = nnx.List([])
        for i in reversed(range(last)):
            up, block = layers.up_conv(out[i + 1], widths[i]), MultiResBlock(layers, 2 * widths[i], parts[i])
            self.decoder.append(UpBlock(up, block, merge="crop"))
        self.head = layers.conv(out[0], config.out_channels, 1, bias=False)
        self.head_norm = layers.norm(config.out_channels, "shift")
        self.initialize(seed, dtype)

    def __call__(self, image: Image, rngs: nnx.Rngs | None = None) -> Logits:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels)."""
        self.check(image)
        x, skips = self.encoder[0](image), []
        for down, path in zip(self.encoder[1:], self.paths, strict=True):
            skip = x
            for step in path:
                skip = step(skip)
            skips.append(skip)
            x = down(x)
        for up in self.decoder:
            x = up(x, skips.pop())
        return self.head_norm(self.head(x))
