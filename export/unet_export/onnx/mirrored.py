"""Adds mirroring to a model: its output is as large as its input, and blocks of an image can be stitched together.

Programs that process an image in blocks use two parameters: how many pixels to drop at a block's edges (the halo), and
the allowed sizes of a block. Here both follow from the network's geometry, so that the blocks give the result of the
whole image: the halo is at least the reach of the receptive field, and blocks start at multiples of the total stride,
so that every pooling window covers the same pixels.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from onnx import ModelProto, StringStringEntryProto, helper, numpy_helper

from unet_spec import Geometry, InputError

from .ops import INPUT, OUTPUT

_INNER = ("mirrored", "network.logits")


@dataclass(frozen=True)
class BlockAxis:
    """How an axis of an image is cut into blocks.

    Attributes:
        halo: Outputs to drop at each edge of a block: at least the reach, and a multiple of `step`.
        minimum: Smallest size of a block: both halos plus one step.
        step: Total stride; sizes are `minimum` + k `step`.
        low, high: Pixels that the model mirrors before and after the block.
    """

    halo: int
    minimum: int
    step: int
    low: int
    high: int


def block_axes(geometry: Geometry) -> tuple[BlockAxis, ...]:
    """The blocks of a network, per axis.

    Raises:
        InputError: If the network depends on the whole image, so that no block reproduces its result.

    Example:
        >>> from unet_spec import preset
        >>> block_axes(preset("paper").geometry)[0]
        BlockAxis(halo=112, minimum=240, step=16, low=92, high=96)
    """
    if not geometry.shift_invariant:
        raise InputError(
            "this network sees the whole image (a norm over the image, attention, or interpolation with aligned"
            " corners): no blocks of an image give its result; use a bundle, which runs the image in one piece"
        )
    return tuple(_axis(geometry, axis) for axis in range(geometry.graph.spatial_dims))


def _axis(geometry: Geometry, axis: int) -> BlockAxis:
    grid, margin, field = geometry.grid(axis), geometry.margin(axis), geometry.field(axis)
    assert field is not None  # shift-invariant networks have a bounded receptive field
    step = grid.step
    halo = -(-max(field.reach[1], *geometry.halo(axis), 1) // step) * step
    smallest = max(2 * halo + step, grid.minimum - 2 * margin)
    minimum = -(-smallest // step) * step
    high = margin + (grid.minimum - minimum - 2 * margin) % step  # extends the block to a size that fits
    return BlockAxis(halo, minimum, step, margin, high)


def mirror_inside(model: ModelProto, geometry: Geometry) -> ModelProto:
    """Adds mirroring to a model of `emit_onnx`: "image" (N, C, *block) to "logits" (N, K, *block).

    The noise of a latent variable is zero. Raises InputError like `block_axes`.
    """
    axes = block_axes(geometry)
    new = ModelProto.FromString(model.SerializeToString(deterministic=True))
    graph = new.graph
    for node in graph.node:
        node.input[:] = [_INNER[0] if name == INPUT else name for name in node.input]
        node.output[:] = [_INNER[1] if name == OUTPUT else name for name in node.output]
        if node.name == OUTPUT:
            node.name = _INNER[1]
    pads = [0, 0, *(a.low for a in axes), 0, 0, *(a.high for a in axes)]
    # The network's output is the block, followed by the part that was mirrored to reach a size that fits.
    ends = [-(a.high - a.low) or np.iinfo(np.int64).max for a in axes]
    cut = {"starts": [0] * len(axes), "ends": ends, "axes": [2 + i for i in range(len(axes))]}
    constants = {"mirrored.pads": pads} | {f"cut.{name}": values for name, values in cut.items()}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.int64), name) for name, v in constants.items())
    before = helper.make_node("Pad", [INPUT, "mirrored.pads"], [_INNER[0]], name=_INNER[0], mode="reflect")
    after = helper.make_node("Slice", [_INNER[1], *(f"cut.{name}" for name in cut)], [OUTPUT], name=OUTPUT)
    nodes = [before, *graph.node, after]
    del graph.node[:], graph.input[1:]
    graph.node.extend(nodes)
    batch, _, *sizes = (d.dim_param for d in graph.input[0].type.tensor_type.shape.dim)
    for dim, name in zip(graph.output[0].type.tensor_type.shape.dim, (batch, None, *sizes), strict=True):
        if name is not None:
            dim.dim_param = name
    new.metadata_props.append(StringStringEntryProto(key="mirrored", value=json.dumps([asdict(axis) for axis in axes])))
    return new
