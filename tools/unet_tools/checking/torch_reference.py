"""Computes a lowered network in PyTorch's half types on the CPU: an independent check of fp16 and bf16."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unet_export.onnx.lowering import DepthToSpace, Lowered
from unet_export.precision.formats import PrecisionRecipe, storage
from unet_spec import InputError, ops
from unet_spec.graph import Node, evaluate
from unet_torch.nn.pointwise import ACTIVATIONS

_SUPPORTED = {
    *(ops.Conv, ops.ConvTranspose, DepthToSpace, ops.MaxPool, ops.Upsample, ops.PlainInstanceNorm, ops.InstanceNorm),
    *(ops.GroupNorm, ops.Activation, ops.Dropout, ops.Concat, ops.Crop, ops.Pad),
}
_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def torch_half(network: Lowered, recipe: PrecisionRecipe) -> Callable[[np.ndarray], np.ndarray]:
    """Makes a function from images (N, *spatial, C) float32 to logits (N, *spatial, K) float32; each node computes in
    the dtype of the recipe.

    Raises InputError for an operation without a PyTorch version here (those of the U-Net have one).
    """
    stored = {name: _TYPES[kind] for name, kind in storage(network.graph, recipe).items()}

    def compute(node: Node, given: list[Tensor]) -> Tensor:
        dtype = stored[node.name]
        own = {key: torch.tensor(tensor).to(dtype) for key, tensor in node.select(network.tensors).items()}
        return _compute(node, [x.to(dtype) for x in given], own)

    def run(images: np.ndarray) -> np.ndarray:
        inputs = network.graph.default_inputs(images.astype(np.float32))
        first = {name: torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))) for name, x in inputs.items()}
        with torch.inference_mode():
            values = evaluate(network.graph.nodes, first, compute, (output := network.graph.output.name,))
        return np.moveaxis(values[output].float().numpy(), 1, -1)

    return run


def _compute(node: Node, given: list[Tensor], own: dict[str, Tensor]) -> Tensor:
    op, x, dims = node.op, given[0], given[0].dim() - 2
    match op:
        case _ if (
            type(op) not in _SUPPORTED
        ):  # subclasses are other operations: AvgPool shares only the windows of MaxPool
            raise InputError(f"{node.name}: {op.kind} has no version in PyTorch's half types here")
        case ops.Conv():
            conv = F.conv2d if dims == 2 else F.conv3d
            return conv(x, own["weight"], own.get("bias"), op.stride, op.padding)
        case ops.ConvTranspose():
            transposed = F.conv_transpose2d if dims == 2 else F.conv_transpose3d
            return transposed(x, own["weight"], own.get("bias"), op.stride)
        case DepthToSpace():
            return F.pixel_shuffle(x, op.block[0])
        case ops.MaxPool():
            return (F.max_pool2d if dims == 2 else F.max_pool3d)(x, op.window)
        case ops.Upsample():
            mode = "bilinear" if dims == 2 else "trilinear"
            return F.interpolate(x, scale_factor=op.scale, mode=mode, align_corners=op.align_corners)
        case ops.PlainInstanceNorm():
            return F.instance_norm(x, eps=op.eps)
        case ops.InstanceNorm():
            return F.instance_norm(x, weight=own["weight"], bias=own["bias"], eps=op.eps)
        case ops.GroupNorm():
            return F.group_norm(x, op.groups, own["weight"], own["bias"], op.eps)
        case ops.Activation():
            return ACTIVATIONS[op.function](x)
        case ops.Dropout():
            return x
        case ops.Concat():
            return torch.cat(given, 1)
        case ops.Crop():
            return x[(..., *(slice(m, n - m) for m, n in zip(op.margin, x.shape[2:], strict=True)))]
        case ops.Pad():
            return F.pad(x, [m for margin in reversed(op.margin) for m in (margin, margin)])
    raise AssertionError(op)
