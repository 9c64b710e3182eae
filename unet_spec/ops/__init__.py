"""The operations. Each is defined once, as a subclass of `base.Op`."""

from .arithmetic import Add, Average, Concat, Multiply
from .attention import Attention, Linear, PositionEmbedding
from .base import Interval, Node, Op, Param, SizeError
from .convolution import Conv, ConvTranspose, he_std
from .ensemble import MeanProbability, ScaleShift
from .latent import ClassNumbers, LatentInput, LatentSample, check_noise, draw_noise, noise_input
from .norm import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from .pointwise import ACTIVATIONS, Activation, Dropout, Input, LeakyReLU
from .pooling import AvgPool, ChannelMax, ChannelMean, GlobalAvgPool, NearestUpsample, WindowMaxPool
from .spatial import Crop, CropLike, ExpandLike, MaxPool, Pad, PadEnd, RepeatLike, Upsample
from .variants import (
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
    "ACTIVATIONS", "Activation", "Add", "Attention", "Average", "AvgPool", "BatchNorm", "BilinearConvTranspose",
    "ChannelMax", "ChannelMean", "ClassNumbers", "Concat", "Conv", "ConvTranspose", "Crop", "CropLike",
    "CroppedConvTranspose", "DropBlock", "Dropout", "ExpandLike", "GlobalAvgPool", "GroupNorm", "Input",
    "InstanceNorm", "Interval", "LatentInput", "LatentSample", "LayerNorm", "LeakyReLU", "Linear", "MaxPool",
    "MeanProbability", "Multiply", "NearestUpsample", "Node", "Op", "PReLU", "Pad", "PadEnd", "Param",
    "PlainInstanceNorm", "PositionEmbedding", "RepeatLike", "ScaleShift", "ShiftBatchNorm", "Sigmoid", "SizeError",
    "StdConv", "Upsample", "WindowMaxPool", "check_noise", "draw_noise", "he_std", "noise_input",
]  # fmt: skip
