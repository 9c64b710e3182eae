"""MONAI's UNet (monai.networks.nets.UNet), after Kerfoot et al. 2018 (doi 10.1007/978-3-030-12029-0_40).

    encoder.0 ──────── skip ───────▶ decoder.1 = logits     encoder.i: a strided convolution, norm, activation; with
      └▶ encoder.1 ─── skip ─▶ decoder.0 ┘                    residual units, several of them and a shortcut added
           └▶ encoder.2 (stride 1) ┘                        decoder.j: a transposed convolution of [skip, below], norm,
                                                              activation; with residual units, one more of these

As in MONAI: the first convolution is strided, so that no skip has the image's size; the shortcut of a strided unit is a
convolution with the unit's kernel, otherwise a 1x1 convolution or the identity; no activation follows the sum; the last
transposed convolution (or the unit after it) gives the logits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..graph import Graph
from ..network import Family, NetworkConfig, require, require_norm, require_widths
from ..ops import Add, CroppedConvTranspose, PReLU
from .builder import Builder


@dataclass(frozen=True)
class MonaiUNetConfig(NetworkConfig, architecture="monai-unet"):
    """MONAI's UNet.

    Attributes:
        in_channels, out_channels, spatial_dims: as in every network.
        widths: feature maps per level, from the finest to the bottleneck.
        strides: downsampling factor of each level except the bottleneck.
        kernel, up_kernel: kernel sizes of the convolutions and of the transposed ones; odd.
        units: convolutions in a residual unit; 0 for no residual units.
        norm: "instance" (no scale and shift, MONAI's default), "affine" (an instance norm with both) or "batch".
        norm_eps: added to the variance.
        norm_momentum: share of the new batch in the running statistics (PyTorch's convention).
        activation: "prelu" (one slope per layer) or "relu".
        bias: whether the convolutions have a bias.
    """

    in_channels: int = 1
    out_channels: int = 2
    spatial_dims: int = 2
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[int, ...] = (2, 2, 2, 2)
    kernel: int = 3
    up_kernel: int = 3
    units: int = 2
    norm: Literal["instance", "affine", "batch"] = "instance"
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    activation: Literal["prelu", "relu"] = "prelu"
    bias: bool = True

    def validate(self) -> None:
        require_widths(self.widths)
        require_norm(self.norm_eps, self.norm_momentum)
        count = len(self.widths) - 1
        fits = len(self.strides) == count and min(self.strides) >= 1
        require(fits, "strides", self.strides, f"{count} numbers above 0, one less than there are widths")
        for name in ("kernel", "up_kernel"):
            require(getattr(self, name) % 2 == 1, name, getattr(self, name), "odd")
        largest = (self.up_kernel + 1) // 2
        require(max(self.strides) <= largest, "strides", self.strides, f"at most {largest} for this up_kernel")
        require(self.units >= 0, "units", self.units, "at least 0")

    def build(self) -> Graph:
        return build(self)


def up_cut(kernel: int, stride: int) -> tuple[int, int]:
    """Pixels that MONAI's padding, (kernel − 1) / 2, and output padding, stride − 1, remove at the low and the high end
    of a transposed convolution's output."""
    pad = (kernel - 1) // 2
    return pad, pad - (stride - 1)


def build(config: MonaiUNetConfig) -> Graph:
    # Without this, the first strided convolution would accept an odd size, and the output would be one pixel larger.
    b = Builder(config.in_channels, config.spatial_dims, multiple=math.prod(config.strides))

    def norm_act(name: str, x: str) -> str:
        kind = {"instance": "plain", "affine": "instance"}.get(config.norm, config.norm)
        x = b.norm(kind, f"{name}.norm", x, config.norm_eps, config.norm_momentum)
        return b.add(f"{name}.act", PReLU(), x) if config.activation == "prelu" else b.relu(f"{name}.act", x)

    def unit(name: str, x: str, width: int, stride: int = 1, last: bool = False) -> str:
        x = b.conv(f"{name}.conv", x, width, config.kernel, stride, config.bias)
        return x if last else norm_act(name, x)

    def residual_unit(name: str, x: str, width: int, stride: int) -> str:
        y, shortcut = x, x
        for k in range(config.units):
            y = unit(f"{name}.units.{k}", y, width, 1 if k else stride)
        if stride != 1 or b.channels[x] != width:
            kernel = 1 if stride == 1 else config.kernel
            shortcut = b.conv(f"{name}.shortcut", x, width, kernel, stride, config.bias)
        return b.add(f"{name}.add", Add(), y, shortcut)

    x, skips = "input", []
    for i, (width, stride) in enumerate(zip(config.widths, (*config.strides, 1), strict=True)):
        x = (residual_unit if config.units else unit)(f"encoder.{i}", x, width, stride)
        skips.append(x)
    skips.pop()
    for j, stride in enumerate(reversed(config.strides)):
        name, top = f"decoder.{j}", j == len(config.strides) - 1
        width = config.out_channels if top else config.widths[-3 - j]
        x = b.concat(f"{name}.concat", skips.pop(), x)
        up = CroppedConvTranspose(
            b.channels[x],
            width,
            b.sizes(config.up_kernel),
            b.sizes(stride),
            config.bias,
            *up_cut(config.up_kernel, stride),
        )
        x = b.add(f"{name}.up.conv", up, x)
        x = x if top and not config.units else norm_act(f"{name}.up", x)
        if config.units:
            x = b.add(f"{name}.add", Add(), unit(f"{name}.unit", x, width, last=top), x)
    return b.graph()


FAMILY = Family(
    MonaiUNetConfig,
    when="Weights of MONAI's UNet; a light network of residual units that downsamples by strides.",
    image_size=256,
    presets={"monai-unet": MonaiUNetConfig()},
    narrow={"monai-unet": MonaiUNetConfig(widths=(8, 16, 32, 64), strides=(2, 2, 2))},
    tests={
        "monai-unet": MonaiUNetConfig(widths=(3, 4, 5), strides=(2, 1), in_channels=2),
        "monai-unet-plain": MonaiUNetConfig(
            widths=(2, 3, 4), strides=(2, 2), units=0, norm="batch", activation="relu", bias=False, kernel=5
        ),
        "monai-unet-3d": MonaiUNetConfig(spatial_dims=3, widths=(2, 3), strides=(2,), units=1, norm="affine"),
    },
)
