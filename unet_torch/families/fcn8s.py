"""FCN-8s in PyTorch. `unet_jax/families/fcn8s.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/fcn8s.py`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from unet_spec.families.fcn8s import CONVOLUTIONS, FIRST_PADDING, OFFSETS, UPSCORE, FCN8sConfig

from ..network import Network
from ..nn.layers import Layers
from ..nn.spatial import crop_like
from ..registry import register
from ..shapes import Image, Logits


class VGGStage(nn.Module):
    """Several 3x3 convolutions with ReLU, then max-pooling to half the size, rounded up."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, pad: int = 1):
        super().__init__()
        self.convs = nn.ModuleList([layers.conv(channels_in, width, pad=pad)])
        self.convs.extend(layers.conv(width, width) for _ in range(count - 1))
        self.acts = nn.ModuleList([layers.act() for _ in range(count)])
        self.pool = layers.window_max_pool(2, 2, ceil=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return self.pool(x)


@register(FCN8sConfig)
class FCN8s(Network):
    """FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038). Arguments as for `UNet`."""

    config: FCN8sConfig

    def __init__(self, config: FCN8sConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config, norm="none")
        widths, classes, hidden = config.widths, config.out_channels, config.hidden
        self.stages = nn.ModuleList([VGGStage(layers, config.in_channels, widths[0], CONVOLUTIONS[0], FIRST_PADDING)])
        for i in range(1, len(widths)):
            self.stages.append(VGGStage(layers, widths[i - 1], widths[i], CONVOLUTIONS[i]))
        self.fc6 = layers.conv(widths[-1], hidden, 7, pad=0)
        self.fc6_act = layers.act()
        self.fc6_drop = layers.dropout(config.dropout)
        self.fc7 = layers.conv(hidden, hidden, 1)
        self.fc7_act = layers.act()
        self.fc7_drop = layers.dropout(config.dropout)
        self.score_fr = layers.conv(hidden, classes, 1)
        self.score_pool4 = layers.conv(widths[3], classes, 1)
        self.score_pool3 = layers.conv(widths[2], classes, 1)
        self.upscore2, self.upscore_pool4, self.upscore8 = (
            layers.up_conv(classes, classes, *UPSCORE[name], bias=False, trained=config.learn_upsampling)
            for name in ("upscore2", "upscore_pool4", "upscore8")
        )
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial) of any size."""
        self.check(image)
        x, pooled = image, []
        for stage in self.stages:
            x = stage(x)
            pooled.append(x)
        x = self.fc6_drop(self.fc6_act(self.fc6(x)))
        x = self.fc7_drop(self.fc7_act(self.fc7(x)))
        x = self.upscore2(self.score_fr(x))
        x = self.upscore_pool4(x + crop_like(self.score_pool4(pooled[3]), x, OFFSETS["score_pool4"]))
        x = self.upscore8(x + crop_like(self.score_pool3(pooled[2]), x, OFFSETS["score_pool3"]))
        return crop_like(x, image, OFFSETS["upscore8"])
