"""FCN-8s in Flax NNX. `unet_torch/families/fcn8s.py` is the same in PyTorch.

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

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike

from unet_jax.blocks import Activation, kept
from unet_jax.families.layers import Fixed, Layers, WindowMaxPool, crop_like
from unet_jax.network import Network
from unet_spec.families import FCN8sConfig
from unet_spec.families.fcn8s import CONVOLUTIONS, FIRST_PADDING, OFFSETS, UPSCORE
from unet_spec.geometry import check_image


class Stage(nnx.Module):
    """Some 3x3 convolutions with ReLU; then half the size, windows that overhang the map included."""

    def __init__(self, layers: Layers, channels_in: int, width: int, count: int, first_pad: int = 1):
        widths, pads = [channels_in, *[width] * count], [first_pad, *[1] * (count - 1)]
        self.convs = nnx.List([layers.conv(widths[k], width, pad=pads[k]) for k in range(count)])
        self.acts = nnx.List([Activation("relu") for _ in range(count)])
        self.pool = WindowMaxPool(layers.dims, 2, 2, ceil=True)

    @kept
    def __call__(self, x: Array) -> Array:
        for conv, act in zip(self.convs, self.acts, strict=True):
            x = act(conv(x))
        return self.pool(x)


class FCN8s(Network):
    """FCN-8s (Long, Shelhamer and Darrell 2015, arXiv 1411.4038).

    Args:
        config: the network.
        seed: of the initial weights; None: all 0, to be loaded.
        dtype: of the parameters.
    """

    config: FCN8sConfig

    def __init__(self, config: FCN8sConfig, seed: int | None = 0, *, dtype: DTypeLike = jnp.float32):
        super().__init__(config)
        layers = Layers(config.spatial_dims, dtype)
        widths, classes, hidden = config.widths, config.out_channels, config.hidden
        first = Stage(layers, config.in_channels, widths[0], CONVOLUTIONS[0], FIRST_PADDING)
        self.stages = nnx.List(
            [first, *(Stage(layers, widths[i - 1], widths[i], CONVOLUTIONS[i]) for i in range(1, len(widths)))]
        )
        self.fc6 = layers.conv(widths[-1], hidden, 7, pad=0)
        self.fc6_act = Activation("relu")
        self.fc6_drop = nnx.Dropout(config.dropout)
        self.fc7 = layers.conv(hidden, hidden, 1)
        self.fc7_act = Activation("relu")
        self.fc7_drop = nnx.Dropout(config.dropout)
        self.score_fr = layers.conv(hidden, classes, 1)
        self.score_pool4 = layers.conv(widths[3], classes, 1)
        self.score_pool3 = layers.conv(widths[2], classes, 1)
        self.upscore2, self.upscore_pool4, self.upscore8 = (
            layers.up_conv(classes, classes, *UPSCORE[name], bias=False)
            for name in ("upscore2", "upscore_pool4", "upscore8")
        )
        if not config.learn_upsampling:
            for up in (self.upscore2, self.upscore_pool4, self.upscore8):
                up.kernel = Fixed(up.kernel[...])  # type: ignore[assignment]
        self.initialize(seed, dtype)

    def __call__(self, image: Array, rngs: nnx.Rngs | None = None) -> Array:
        """The logits (N, *spatial, out_channels) of an image (N, *spatial, in_channels) of any size.

        In training mode, `rngs` has a stream "dropout".
        """
        check_image(self.config.graph, image.shape)
        x, pooled = image, []
        for stage in self.stages:
            x = stage(x)
            pooled.append(x)
        x = self.fc6_drop(self.fc6_act(self.fc6(x)), rngs=rngs)
        x = self.fc7_drop(self.fc7_act(self.fc7(x)), rngs=rngs)
        x = self.upscore2(self.score_fr(x))
        x = self.upscore_pool4(x + crop_like(self.score_pool4(pooled[3]), x, OFFSETS["score_pool4"]))
        x = self.upscore8(x + crop_like(self.score_pool3(pooled[2]), x, OFFSETS["score_pool3"]))
        return crop_like(x, image, OFFSETS["upscore8"])
