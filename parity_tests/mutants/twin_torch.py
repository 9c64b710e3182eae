"""Bugs in the PyTorch twin."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as F

from unet_torch.families import unet
from unet_torch.nn import blocks, layers, norm, pointwise, spatial

from .plant import Attributes, Edit, Entries
from .registry import NETWORK, add

_CONV_BLOCK = blocks.TwoConvs.convolve
_UP_BLOCK = blocks.UpBlock.forward
_ORIGINAL_CONV = nn.Conv2d._conv_forward

add(
    "torch-kernel-flipped",
    "convolutions are true convolutions: kernels turned by 180 degrees",
    "equal-widths",
    NETWORK,
    Attributes(
        nn.Conv2d,
        "weight → weight.flip(-1, -2)",
        {"_conv_forward": lambda self, x, weight, bias: _ORIGINAL_CONV(self, x, weight.flip(-1, -2), bias)},
    ),
)
add(
    "torch-relu-missing",
    "no activation after the second convolution of a block",
    "crop-batch",
    NETWORK,
    Edit(_CONV_BLOCK, "self.act2(self.norm2", "(self.norm2"),
)
add(
    "torch-activation-before-norm",
    "convolution, activation, norm",
    "crop-batch",
    NETWORK,
    Edit(_CONV_BLOCK, "self.act1(self.norm1(self.conv1(x)))", "self.norm1(self.act1(self.conv1(x)))"),
)
add(
    "torch-norms-swapped",
    "the two norms of a block change places",
    "crop-batch",
    NETWORK,
    Edit(
        _CONV_BLOCK,
        "self.act1(self.norm1(self.conv1(x)))\n    x = self.act2(self.norm2(self.conv2(x)))",
        "self.act1(self.norm2(self.conv1(x)))\n    x = self.act2(self.norm1(self.conv2(x)))",
    ),
)
add(
    "torch-norms-tied",
    "both norms of a block are one module",
    "crop-batch",
    ("mapping.bijection", "mapping.round_trip", *NETWORK),
    Edit(blocks.TwoConvs.__init__, "self.norm2 = layers.norm(channels_out)", "self.norm2 = self.norm1"),
)
add(
    "torch-norm-eps",
    "batch norm with the default epsilon, not the config's",
    "crop-batch",
    NETWORK,
    Edit(norm.BatchNorm.__init__, "(features, eps, momentum)", "(features, 1e-5, momentum)"),
)
add(
    "torch-norm-momentum-convention",
    "momentum is the share of the old statistics, Flax's convention",
    "crop-batch",
    NETWORK,
    Edit(norm.BatchNorm.__init__, "(features, eps, momentum)", "(features, eps, 1 - momentum)"),
)
add(
    "torch-statistics-frozen",
    "training leaves the running statistics as they were",
    "crop-batch",
    NETWORK,
    Edit(norm.BatchNorm.__init__, "(features, eps, momentum)", "(features, eps, 0.0)"),
)
add(
    "torch-batch-statistics-in-eval",
    "evaluation normalises by the batch's statistics",
    "crop-batch",
    NETWORK,
    Attributes(
        norm.BatchNorm,
        "F.batch_norm(training=True) in both modes",
        {
            "forward": lambda self, x: F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
            )
        },
    ),
)
add(
    "torch-instance-norm-not-affine",
    "scale and shift of the instance norm are kept but not applied",
    "valid-instance",
    NETWORK,
    Attributes(
        nn.InstanceNorm2d,
        "F.instance_norm without weight and bias",
        {"_apply_instance_norm": lambda self, x: F.instance_norm(x, eps=self.eps)},
    ),
)
add(
    "torch-gelu-tanh",
    "GELU by its tanh approximation",
    "gelu",
    NETWORK,
    Entries(
        "unet_torch.nn.pointwise.ACTIVATIONS",
        'gelu: approximate="tanh"',
        lambda: pointwise.ACTIVATIONS,
        {"gelu": partial(F.gelu, approximate="tanh")},
    ),
)
add(
    "torch-average-pool",
    "the mean of a window, not its maximum",
    "crop-batch",
    NETWORK,
    Edit(spatial.MaxPool.forward, "F.max_pool2d(x, self.window)", "F.avg_pool2d(x, self.window)"),
)
add(
    "torch-pool-stride-1",
    "pooling windows overlap; the padding that follows crops the result to the right size",
    "pad-none",
    NETWORK,
    Edit(spatial.MaxPool.forward, "F.max_pool2d(x, self.window)", "F.max_pool2d(x, self.window, stride=1)"),
)
add(
    "torch-align-corners",
    "interpolation by the other convention of where pixels lie",
    "same-bilinear",
    NETWORK,
    Edit(spatial.Upsample.forward, "align_corners=self.align_corners", "align_corners=not self.align_corners"),
)
add(
    "torch-upsampling-nearest",
    "the nearest pixel, not an interpolation",
    "half-pixel-silu",
    NETWORK,
    Edit(spatial.Upsample.forward, "mode=mode, align_corners=self.align_corners", 'mode="nearest"'),
)
add(
    "torch-up-bias-dropped",
    "the up-convolution's bias, zero at initialisation, is not added",
    "equal-widths",
    NETWORK,
    Edit(_UP_BLOCK, "x = self.up(x)", "x = torch.conv_transpose2d(x, self.up.weight, stride=2)"),
)
add(
    "torch-concat-order",
    "[upsampled, skip]",
    "crop-batch",
    NETWORK,
    Edit(_UP_BLOCK, "[skip, x]", "[x, skip]"),
)
add(
    "torch-skip-detached",
    "no gradient flows through the skip connections",
    "crop-batch",
    NETWORK,
    Edit(_UP_BLOCK, "[skip, x]", "[skip.detach(), x]"),
)
add(
    "torch-crop-from-corner",
    "the skip is cropped from its first pixel on, not about its centre",
    "crop-batch",
    NETWORK,
    Edit(spatial.center_crop, "x.narrow(axis, start,", "x.narrow(axis, 0,"),
)
add(
    "torch-pad-instead-of-crop",
    "the upsampled map is padded to the skip's size, not the skip cropped",
    "crop-batch",
    NETWORK,
    Edit(_UP_BLOCK, "skip = center_crop(skip, like=x)", "x = center_pad(x, like=skip)"),
)
add(
    "torch-pad-on-one-side",
    "all zeros on the low side",
    "pad-none",
    NETWORK,
    Edit(spatial.center_pad, "[total // 2, total - total // 2]", "[total, 0]"),
)
add(
    "torch-pad-repeats-border",
    "the upsampled map is continued by its border, not by zeros",
    "pad-none",
    NETWORK,
    Edit(spatial.center_pad, "F.pad(x, pads)", 'F.pad(x, pads, mode="replicate")'),
)
add(
    "torch-conv-repeats-border",
    '"same" convolutions see the border repeated, not zeros',
    "same",
    NETWORK,
    Edit(layers.Layers.conv, "bias=bias)", 'bias=bias, padding_mode="replicate")'),
)
add(
    "torch-head-bias-dropped",
    "the head's bias, zero at initialisation, is not added",
    "crop-batch",
    NETWORK,
    Edit(unet.UNet.forward, "self.head(x)", "self.head._conv_forward(x, self.head.weight, None)"),
)
add(
    "torch-half-in-one-layer",
    "the head is given its input rounded to float16",
    "crop-batch",
    NETWORK,
    Edit(unet.UNet.forward, "self.head(x)", "self.head(x.half().to(x.dtype))"),
)
add(
    "torch-dropout-in-eval",
    "dropout goes on in evaluation",
    "gelu",
    NETWORK,
    Edit(_CONV_BLOCK, "self.dropout(x)", 'torch.dropout(x, getattr(self.dropout, "p", 0.0), True)'),
)
add(
    "torch-dropout-unscaled",
    "values that dropout keeps are not divided by the share kept",
    "gelu",
    NETWORK,
    Edit(_CONV_BLOCK, "self.dropout(x)", 'self.dropout(x) * (1 - self.training * getattr(self.dropout, "p", 0.0))'),
)
add(
    "torch-distance-of-the-logits",
    "the distance is the largest logit, not a head of its own",
    "distance",
    NETWORK,
    Edit(unet.UNet.forward, "self.distance(x)", "logits.amax(1, keepdim=True)"),
)
