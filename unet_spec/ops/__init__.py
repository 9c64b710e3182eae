"""The operations, each defined once. See `base.Op` for what that takes."""

from unet_spec.ops.base import Interval, Op, Param, SizeError
from unet_spec.ops.convolution import Conv, ConvTranspose, he_std
from unet_spec.ops.norm import BatchNorm, GroupNorm, InstanceNorm
from unet_spec.ops.pointwise import ACTIVATIONS, Activation, Concat, Dropout, Input
from unet_spec.ops.spatial import Crop, MaxPool, Pad, Upsample

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "BatchNorm",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Crop",
    "Dropout",
    "GroupNorm",
    "Input",
    "InstanceNorm",
    "Interval",
    "MaxPool",
    "Op",
    "Pad",
    "Param",
    "SizeError",
    "Upsample",
    "he_std",
]
