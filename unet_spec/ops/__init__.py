"""The operations, each defined once. See `base.Op` for what that takes."""

from unet_spec.ops.alignment import CropLike, ExpandLike, PadEnd, RepeatLike
from unet_spec.ops.arithmetic import Add, Average, Multiply
from unet_spec.ops.attention import Attention, LayerNorm, Linear, PositionEmbedding
from unet_spec.ops.base import Interval, Op, Param, SizeError
from unet_spec.ops.convolution import Conv, ConvTranspose, he_std
from unet_spec.ops.latent import ClassNumbers, LatentInput, LatentSample
from unet_spec.ops.norm import BatchNorm, GroupNorm, InstanceNorm
from unet_spec.ops.pointwise import ACTIVATIONS, Activation, Concat, Dropout, Input, LeakyReLU
from unet_spec.ops.pooling import AvgPool, ChannelMax, ChannelMean, GlobalAvgPool, NearestUpsample, WindowMaxPool
from unet_spec.ops.spatial import Crop, MaxPool, Pad, Upsample
from unet_spec.ops.variants import (
    BilinearConvTranspose,
    CroppedConvTranspose,
    DropBlock,
    PlainInstanceNorm,
    PReLU,
    ShiftBatchNorm,
    Sigmoid,
    StdConv,
)

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Add",
    "Attention",
    "Average",
    "AvgPool",
    "BatchNorm",
    "BilinearConvTranspose",
    "ChannelMax",
    "ChannelMean",
    "ClassNumbers",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Crop",
    "CropLike",
    "CroppedConvTranspose",
    "DropBlock",
    "Dropout",
    "ExpandLike",
    "GlobalAvgPool",
    "GroupNorm",
    "Input",
    "InstanceNorm",
    "Interval",
    "LatentInput",
    "LatentSample",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool",
    "Multiply",
    "NearestUpsample",
    "Op",
    "PReLU",
    "Pad",
    "PadEnd",
    "Param",
    "PlainInstanceNorm",
    "PositionEmbedding",
    "RepeatLike",
    "ShiftBatchNorm",
    "Sigmoid",
    "SizeError",
    "StdConv",
    "Upsample",
    "WindowMaxPool",
    "he_std",
]
