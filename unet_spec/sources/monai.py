"""MONAI's U-Nets. Their tensors do not determine slopes and eps, and determine strides only if kernel and stride of a
transposed convolution are equal. Otherwise MONAI's defaults are assumed, which nearly all networks have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..families.attention_unet import AttentionUNetConfig
from ..families.monai_unet import MonaiUNetConfig
from ..families.staged_unet import StagedUNetConfig, stages_of
from .shapes import Shapes
from .table import Constants


def infer_basic(shapes: Shapes, metadata: Mapping[str, Any]) -> StagedUNetConfig:
    """BasicUNet: leaky ReLU of slope 0.1, pooling, five stages."""
    if "upcat_4.upsample.deconv.weight" not in shapes:
        raise shapes.refuse('upcat_4.upsample.deconv.weight is missing; only upsample="deconv" is supported')
    first = shapes.conv("conv_0.conv_0.conv.weight")
    convs = ["conv_0", *(f"down_{i}.convs" for i in range(1, 5))]
    return StagedUNetConfig(
        in_channels=first[1],
        out_channels=shapes.conv("final_conv.weight")[0],
        spatial_dims=len(first) - 2,
        widths=tuple(shapes.conv(f"{name}.conv_1.conv.weight")[0] for name in convs),
        decoder_widths=tuple(shapes.conv(f"upcat_{i}.convs.conv_1.conv.weight")[0] for i in (4, 3, 2, 1)),
        up_widths=tuple(shapes.conv(f"upcat_{i}.upsample.deconv.weight")[1] for i in (4, 3, 2, 1)),
        downsampling="max",
        first="skip",
        conv_bias=shapes.any("", ".conv.bias"),
        up_bias=shapes.any("upcat_", ".upsample.deconv.bias"),
        norm=_norm(shapes, ".adn.N"),
        slope=0.1,
    )


def infer_dynunet(shapes: Shapes, metadata: Mapping[str, Any]) -> StagedUNetConfig:
    """DynUNet, plain or residual: leaky ReLU of slope 0.01; strides are the kernels of the transposed convolutions."""
    blocks = ["input_block"]
    blocks += [f"downsamples.{i}" for i in range(shapes.count("downsamples.{}.conv1.conv.weight"))] + ["bottleneck"]
    stages = len(blocks)
    firsts = [shapes.conv(f"{block}.conv1.conv.weight") for block in blocks]
    dims = len(firsts[0]) - 2
    ups = [shapes.of(f"upsamples.{j}.transp_conv.conv.weight", dims + 2) for j in range(stages - 1)]
    residual = shapes.any("", ".conv3.conv.weight")
    config = StagedUNetConfig(
        in_channels=firsts[0][1],
        out_channels=shapes.conv("output_block.conv.conv.weight")[0],
        spatial_dims=dims,
        widths=tuple(f[0] for f in firsts),
        kernels=tuple(f[2:] for f in firsts),
        strides=((1,) * dims, *(up[2:] for up in reversed(ups))),
        depths=(1 if residual else 2,) * stages,
        decoder_kernels=tuple(
            shapes.conv(f"upsamples.{j}.conv_block.conv1.conv.weight")[2:] for j in range(stages - 1)
        ),
        residual="stride" if residual else "none",
        conv_bias=False,
        up_bias=shapes.any("upsamples.", ".transp_conv.conv.bias"),
        norm=_norm(shapes, ".norm1"),
        sides=shapes.count("deep_supervision_heads.{}.conv.conv.weight"),
    )
    for kernel, stride in zip(stages_of(config).kernels, stages_of(config).strides, strict=True):
        if any((k - s + 1) // 2 != k // 2 for k, s in zip(kernel, stride, strict=True)):
            raise shapes.refuse(f"a kernel of {kernel} with a stride of {stride} is padded differently in MONAI")
    return config


def dynunet_constants(config: StagedUNetConfig) -> Constants:
    """The numbers in DynUNet's rows."""
    return {"last": len(config.widths) - 1, "sides": config.sides}


def infer_attention(shapes: Shapes, metadata: Mapping[str, Any]) -> AttentionUNetConfig:
    """AttentionUnet with kernels of 3 and strides of 2."""
    first, nested = shapes.conv("model.0.conv.0.conv.weight"), "model.1"
    widths = [first[0]]
    while (name := f"{nested}.submodule.0.conv.0.conv.weight") in shapes:
        widths.append(shapes.conv(name)[0])
        nested += ".submodule.1"
    widths.append(shapes.conv(f"{nested}.submodule.conv.0.conv.weight")[0])
    return AttentionUNetConfig(
        in_channels=first[1],
        out_channels=shapes.conv("model.2.conv.weight")[0],
        widths=tuple(widths),
        spatial_dims=len(first) - 2,
    )


def _norm(shapes: Shapes, end: str) -> Any:
    norm = shapes.norm("", end)
    if norm == "none":
        raise shapes.refuse("no norm has a scale; only batch norm and instance norm with a scale are supported")
    return norm


def infer_unet(shapes: Shapes, metadata: Mapping[str, Any]) -> MonaiUNetConfig:
    """UNet, with or without residual units. Every level is assumed to halve its input, unless the shortcut of a
    residual unit is 1x1 or absent, which shows that it does not."""
    units = shapes.count("model.0.conv.unit{}.conv.weight")
    block = "model.0.conv.unit0" if units else "model.0"
    tail = ".conv.unit0.conv.weight" if units else ".conv.weight"
    first = shapes.conv(f"{block}.conv.weight")
    places, nested = ["model.0"], "model.1"
    while f"{nested}.submodule.0{tail}" in shapes:
        places.append(f"{nested}.submodule.0")
        nested += ".submodule.1"
    places.append(f"{nested}.submodule")
    up = shapes.conv(f"model.2{'.0' if units else ''}.conv.weight")
    return MonaiUNetConfig(
        in_channels=first[1],
        out_channels=up[1],
        spatial_dims=len(first) - 2,
        widths=tuple(shapes.conv(place + tail)[0] for place in places),
        strides=tuple(_stride(shapes, place, units) for place in places[:-1]),
        kernel=first[2],
        up_kernel=up[2],
        units=units,
        norm="batch"
        if shapes.any("model.", ".adn.N.running_mean")
        else ("affine" if shapes.any("model.", ".adn.N.weight") else "instance"),
        activation="prelu" if shapes.any("model.", ".adn.A.weight") else "relu",
        bias=shapes.any("model.", ".conv.bias"),
    )


def _stride(shapes: Shapes, place: str, units: int) -> int:
    if not units:
        return 2
    name = f"{place}.residual.weight"
    return 2 if name in shapes and max(shapes.conv(name)[2:]) > 1 else 1


def unet_constants(config: MonaiUNetConfig) -> Constants:
    """The numbers in UNet's rows."""
    last = len(config.widths) - 1
    return {"last": last, "top": last - 1, "residual": int(config.units > 0)}
