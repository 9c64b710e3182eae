"""FCN-8s in PyTorch. `unet_jax/families/fcn8s.py` is the same in Flax.

FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038): VGG-16 made convolutional; skips that are added.

    stages.0 ─▶ stages.1 ─▶ stages.2 ──────────▶ stages.3 ──────▶ stages.4 ─▶ fc6 ─▶ fc7 ─▶ score_fr
                               └ score_pool3 ─┐     └ score_pool4 ─┐                          │
    logits ◀─ cut ◀─ upscore8 ◀───────────────+ ◀─ upscore_pool4 ◀─+ ◀──────── upscore2 ◀─────┘

What U-Net concatenates, FCN adds: class scores, not features. The first convolution is padded by 100 so that even a
small image leaves something for fc6 (7x7, no padding); pooling counts windows that overhang the map; all that is too
much is cut: 5 from the scores of pool4, 9 from those of pool3, 31 from the end result. Any image size fits.

Follows the authors' Caffe model (and pytorch-fcn, whose layer names these are): the interpolating transposed
convolutions are fixed; whether they are trained is `learn_upsampling`. All stages are trained at once here, in the
paper one by one.
"""

from __future__ import annotations

from torch import Tensor, nn

from unet_spec.families import FCN8sConfig
from unet_spec.families.fcn8s import CONVOLUTIONS, FIRST_PADDING, OFFSETS, UPSCORE
from unet_torch.blocks import Activation
from unet_torch.families.layers import Layers, WindowMaxPool, crop_like
from unet_torch.network import Network


class Stage(nn.Module):
    """Some 3x3 convolutions with ReLU; then half the size, windows that overhang the map included."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, first_pad: int = 1):
        super().__init__()
        widths, pads = [channels_in, *[width] * count], [first_pad, *[1] * (count - 1)]
        self.convs = nn.ModuleList([layers.conv(widths[k], width, pad=pads[k]) for k in range(count)])
        self.acts = nn.ModuleList([Activation("relu") for _ in range(count)])
        self.pool = WindowMaxPool(layers.dims, 2, 2, ceil=True)

    def forward(self, x: Tensor) -> Tensor:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return self.pool(x)


class FCN8s(Network):
    """FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038).

    Args:
        config: the network.
        seed: of the initial weights; None: left to be loaded.
    """

    config: FCN8sConfig

    def __init__(self, config: FCN8sConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config.spatial_dims)
        widths, classes, hidden = config.widths, config.out_channels, config.hidden
        first = Stage(layers, config.in_channels, widths[0], CONVOLUTIONS[0], FIRST_PADDING)
        self.stages = nn.ModuleList(
            [first, *(Stage(layers, widths[i - 1], widths[i], CONVOLUTIONS[i]) for i in range(1, len(widths)))]
        )
        self.fc6 = layers.conv(widths[-1], hidden, 7, pad=0)
        self.fc6_act = Activation("relu")
        self.fc6_drop = nn.Dropout(config.dropout)
        self.fc7 = layers.conv(hidden, hidden, 1)
        self.fc7_act = Activation("relu")
        self.fc7_drop = nn.Dropout(config.dropout)
        self.score_fr = layers.conv(hidden, classes, 1)
        self.score_pool4 = layers.conv(widths[3], classes, 1)
        self.score_pool3 = layers.conv(widths[2], classes, 1)
        self.upscore2, self.upscore_pool4, self.upscore8 = (
            layers.up_conv(classes, classes, *UPSCORE[name], bias=False)
            for name in ("upscore2", "upscore_pool4", "upscore8")
        )
        for up in (self.upscore2, self.upscore_pool4, self.upscore8):
            up.weight.requires_grad_(config.learn_upsampling)
        self.initialize(seed)

    def forward(self, image: Tensor) -> Tensor:
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
