"""U-Net with a ResNet encoder in PyTorch. `unet_jax/families/resnet_unet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/resnet_unet.py`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.families.resnet_unet import ResNetUNetConfig, block_convs

from ..network import Network
from ..nn.blocks import ConvUnit, Shortcut, UpConvBlock
from ..nn.layers import Layers
from ..registry import register
from ..shapes import Image, Logits


class Stem(ConvUnit):
    """7x7 convolution with stride 2, batch norm, ReLU. `pooled` halves the map again."""

    def __init__(self, layers: Layers, channels_in: int, width: int):
        super().__init__(layers, channels_in, width, 7, 2)
        self.pool = layers.window_max_pool(3, 2)

    def pooled(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        return self.pool(F.pad(x, (1, 1, 1, 1)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norms; the shortcut is added before the last ReLU."""

    def __init__(self, layers: Layers, channels_in: int, inner: int, stride: int):
        super().__init__()
        (width, kernel1, stride1), (out, kernel2, stride2) = block_convs("basic", inner, stride)
        self.conv1 = layers.conv(channels_in, width, kernel1, stride1, bias=False)
        self.norm1 = layers.norm(width)
        self.act1 = layers.act()
        self.conv2 = layers.conv(width, out, kernel2, stride2, bias=False)
        self.norm2 = layers.norm(out)
        self.shortcut = Shortcut(layers, channels_in, out, stride)
        self.act2 = layers.act()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        y = self.act1(self.norm1(self.conv1(x)))
        return self.act2(self.norm2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norms; the last is four times as wide. Otherwise like BasicBlock."""

    def __init__(self, layers: Layers, channels_in: int, inner: int, stride: int):
        super().__init__()
        (width, kernel1, stride1), (_, kernel2, stride2), (out, kernel3, stride3) = block_convs(
            "bottleneck", inner, stride
        )
        self.conv1 = layers.conv(channels_in, width, kernel1, stride1, bias=False)
        self.norm1 = layers.norm(width)
        self.act1 = layers.act()
        self.conv2 = layers.conv(width, width, kernel2, stride2, bias=False)
        self.norm2 = layers.norm(width)
        self.act2 = layers.act()
        self.conv3 = layers.conv(width, out, kernel3, stride3, bias=False)
        self.norm3 = layers.norm(out)
        self.shortcut = Shortcut(layers, channels_in, out, stride)
        self.act3 = layers.act()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        y = self.act1(self.norm1(self.conv1(x)))
        y = self.act2(self.norm2(self.conv2(y)))
        return self.act3(self.norm3(self.conv3(y)) + self.shortcut(x))


@register(ResNetUNetConfig)
class ResNetUNet(Network):
    """A U-Net with a ResNet encoder, as in segmentation_models.pytorch. Arguments as for `UNet`."""

    config: ResNetUNetConfig

    def __init__(self, config: ResNetUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config, bias=False)
        block, widths = BasicBlock if config.block == "basic" else Bottleneck, config.skip_widths
        self.stem = Stem(layers, config.in_channels, config.width)
        self.layers, self.decoder = nn.ModuleList(), nn.ModuleList()
        for i, depth in enumerate(config.depths):
            ins, inner = [widths[i], *[widths[i + 1]] * (depth - 1)], config.width * 2**i
            self.layers.append(
                nn.ModuleList([block(layers, c, inner, 2 if i and not k else 1) for k, c in enumerate(ins)])
            )
        below = widths[-1]
        for skip, width in zip((*widths[-2::-1], 0), config.decoder, strict=True):
            self.decoder.append(UpConvBlock(layers, layers.nearest_upsample(), below + skip, width))
            below = width
        self.head = layers.conv(config.decoder[-1], config.out_channels)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, H, W) of an image (N, in_channels, H, W)."""
        self.check(image)
        x = self.stem(image)
        skips = [x]
        x = self.stem.pooled(x)
        for layer in self.layers:
            for block in layer.children():
                x = block(x)
            skips.append(x)
        skips.pop()
        for up in self.decoder:
            x = up(x, skips.pop() if skips else None)
        return self.head(x)
