"""Networks with few variants: milesial's, mateuszbuda's, segmentation_models.pytorch's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..families.resnet_unet import ResNetUNetConfig
from ..families.staged_unet import StagedUNetConfig
from ..families.unet import PRESETS, UNetConfig
from .shapes import Shapes
from .table import Constants


def infer_milesial(shapes: Shapes, metadata: Mapping[str, Any]) -> UNetConfig:
    """The network, transposed or bilinear. In the bilinear one, `widths` has twice the width of the bottleneck."""
    first = shapes.of("inc.double_conv.0.weight", 4)
    deeper = shapes.count("down{}.maxpool_conv.1.double_conv.0.weight", start=1) - 1
    widths = [first[0], *(shapes.conv(f"down{i}.maxpool_conv.1.double_conv.3.weight")[0] for i in range(1, deeper + 1))]
    transposed = "up1.up.weight" in shapes
    if not transposed:
        widths[-1] *= 2
    return PRESETS["same"].replace(
        in_channels=first[1],
        out_channels=shapes.conv("outc.conv.weight")[0],
        widths=tuple(widths),
        conv_bias=shapes.any("", ".double_conv.0.bias"),  # the article's version has biases
        upsampling="transposed" if transposed else "bilinear",
    )


def no_constants(config: object) -> Constants:
    """For tables whose rows contain no numbers of the network."""
    return {}


def infer_brain(shapes: Shapes, metadata: Mapping[str, Any]) -> StagedUNetConfig:
    """The network: batch norm after convolutions without bias, ReLU, pooling."""
    stages = shapes.count("encoder{0}.enc{0}conv1.weight", start=1)  # four encoders, then the bottleneck
    firsts = [shapes.conv(f"encoder{i}.enc{i}conv1.weight") for i in range(1, stages)]
    return StagedUNetConfig(
        in_channels=firsts[0][1],
        out_channels=shapes.conv("conv.weight")[0],
        widths=(*(f[0] for f in firsts), shapes.conv("bottleneck.bottleneckconv1.weight")[0]),
        downsampling="max",
        conv_bias=shapes.any("encoder", "conv1.bias"),
        norm="batch",
        activation="relu",
    )


def last_stage(config: Any) -> Constants:
    """The index of the bottleneck's stage."""
    return {"last": len(config.widths) - 1}


def infer_smp(shapes: Shapes, metadata: Mapping[str, Any]) -> ResNetUNetConfig:
    """segmentation_models.pytorch's Unet with a ResNet, whose variant follows from the encoder's depths."""
    bottleneck = "encoder.layer1.0.conv3.weight" in shapes
    stem = shapes.of("encoder.conv1.weight", 4)
    return ResNetUNetConfig(
        in_channels=stem[1],
        out_channels=shapes.conv("segmentation_head.0.weight")[0],
        block="bottleneck" if bottleneck else "basic",
        depths=tuple(shapes.depth(f"encoder.layer{i}.{{}}.conv1.weight") for i in (1, 2, 3, 4)),
        width=stem[0],
        decoder=tuple(shapes.conv(f"decoder.blocks.{j}.conv2.0.weight")[0] for j in range(5)),
    )
