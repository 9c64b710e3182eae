"""Bugs in the ONNX emitter and in the lowering."""

from __future__ import annotations

from unet_export.onnx import lowering
from unet_export.onnx import ops as onnx_ops
from unet_spec import ops

from .plant import Edit, Entries, Plant
from .registry import ONNX, add


def _emit(op: type, old: str, new: str) -> Plant:
    """An edit of a line in the emitter of one operation."""
    return Edit(onnx_ops.emit.dispatch(op), old, new, f"unet_export.onnx.ops.emit({op.__name__})")


_SLICE = """op.margin, np.int64)
    ends = writer.constant(f"{node.name}.ends", [-m for m in op.margin]"""


def _activation(name: str, op_type: str, **attributes: object) -> Plant:
    change = f"{name}: {op_type}({', '.join(f'{k}={v}' for k, v in attributes.items())})"
    values = {name: (op_type, attributes)}
    return Entries("unet_export.onnx.ops._ACTIVATIONS", change, lambda: onnx_ops._ACTIVATIONS, values)


add(
    "onnx-norm-eps",
    "no epsilon is written: ONNX's default is 1e-5",
    "crop-batch",
    ONNX,
    _emit(ops.BatchNorm, ", epsilon=op.eps", ""),
)
add(
    "onnx-instance-norm-eps",
    "no epsilon is written",
    "instance-leaky-relu",
    ONNX,
    _emit(ops.InstanceNorm, ", epsilon=op.eps", ""),
)
add(
    "onnx-statistics-exchanged",
    "running variance and running mean in the wrong order",
    "crop-batch",
    ONNX,
    _emit(ops.BatchNorm, '"running_mean", "running_var"', '"running_var", "running_mean"'),
)
add(
    "onnx-group-size-for-groups",
    "the number of groups is taken for their size",
    "group-elu",
    ONNX,
    _emit(
        ops.GroupNorm,
        "name = node.name\n",
        "name, op = node.name, ops.GroupNorm(op.features, op.eps, op.features // op.groups)\n",
    ),
)
add(
    "onnx-group-norm-shift-first",
    "the group norm adds its bias before it multiplies by its weight",
    "group-elu",
    ONNX,
    _emit(
        ops.GroupNorm,
        'x = writer.add("Mul", f"{name}.scaled", [x, weight])\n    return writer.add("Add", name, [x, bias])',
        'x = writer.add("Add", f"{name}.scaled", [x, bias])\n    return writer.add("Mul", name, [x, weight])',
    ),
)
add(
    "onnx-conv-padding-order",
    "low and high ends of the padding mixed up: all of it lies on one side",
    "same",
    ONNX,
    _emit(ops.Conv, "pads=op.padding * 2", "pads=tuple(2 * p for p in op.padding) + (0,) * len(op.padding)"),
)
add(
    "onnx-up-bias-missing",
    "the up-convolution's bias is not written",
    "equal-widths",
    ONNX,
    _emit(ops.ConvTranspose, "writer.operands(node, inputs)", "writer.operands(node, inputs)[:2]"),
)
add(
    "onnx-average-pool",
    "the mean of a window, not its maximum",
    "crop-batch",
    ONNX,
    _emit(ops.MaxPool, '"MaxPool"', '"AveragePool"'),
)
add(
    "onnx-resize-half-pixel",
    "half-pixel coordinates, ONNX's default, whatever the config says",
    "same-bilinear",
    ONNX,
    _emit(ops.Upsample, '"align_corners" if op.align_corners else "half_pixel"', '"half_pixel"'),
)
add(
    "onnx-resize-asymmetric",
    "pixels at their corners, not at their centres",
    "half-pixel-silu",
    ONNX,
    _emit(ops.Upsample, 'else "half_pixel"', 'else "asymmetric"'),
)
add(
    "onnx-resize-cubic",
    "cubic interpolation",
    "same-bilinear",
    ONNX,
    _emit(ops.Upsample, 'mode="linear"', 'mode="cubic"'),
)
add(
    "onnx-slice-off-by-one",
    "the crop begins and ends one pixel too far on",
    "crop-batch",
    ONNX,
    _emit(ops.Crop, _SLICE, _SLICE.replace("op.margin,", "[m + 1 for m in op.margin],").replace("[-m", "[1 - m")),
)
add(
    "onnx-pad-on-one-side",
    "all zeros on the low side",
    "pad-none",
    ONNX,
    _emit(ops.Pad, "[0, 0, *op.margin] * 2", "[0, 0, *(2 * m for m in op.margin), *[0] * (2 + len(op.margin))]"),
)
add(
    "onnx-pad-repeats-border",
    "the upsampled map is continued by its border, not by zeros",
    "pad-none",
    ONNX,
    _emit(ops.Pad, 'mode="constant"', 'mode="edge"'),
)
add(
    "onnx-concat-order",
    "[upsampled, skip]",
    "crop-batch",
    ONNX,
    _emit(ops.Concat, "inputs, axis=1", "inputs[::-1], axis=1"),
)
add(
    "onnx-activations-dropped",
    "activations are left out",
    "crop-batch",
    ONNX,
    _emit(
        ops.Activation,
        "return writer.add(op_type, node.name, inputs, **attributes)",
        'return writer.add("Identity", node.name, inputs)',
    ),
)
add(
    "onnx-gelu-tanh",
    "GELU by its tanh approximation",
    "gelu",
    ONNX,
    _activation("gelu", "Gelu", approximate="tanh"),
)
add(
    "onnx-elu-alpha",
    "alpha 0.9",
    "group-elu",
    ONNX,
    _activation("elu", "Elu", alpha=0.9),
)
add(
    "onnx-weights-in-half",
    "weights are rounded to float16 on their way into the file",
    "crop-batch",
    ONNX,
    Edit(
        onnx_ops.Writer.parameters,
        "self.tensors[name])",
        "self.tensors[name].astype(np.float16))",
    ),
)
add(
    "lowering-norm-sign",
    "the folded mean is added, not subtracted",
    "crop-batch",
    ONNX,
    Edit(lowering._folded, "- mean) * scale", "+ mean) * scale"),
)
add(
    "lowering-norm-eps",
    "the folded norm has no epsilon",
    "crop-batch",
    ONNX,
    Edit(lowering._folded, "np.sqrt(var + norm.op.eps)", "np.sqrt(var)"),
)
add(
    "lowering-conv-bias-lost",
    "the bias of the convolution before a folded norm is dropped",
    "crop-batch",
    ONNX,
    Edit(lowering._folded, 'conv.get("bias", np.zeros(1))', "np.zeros(1)"),
)
add(
    "lowering-taps-order",
    "the up-convolution's taps in the order W H",
    "equal-widths",
    ONNX,
    Edit(lowering._split_transposed, "(1, *range(2, weight.ndim), 0)", "(1, *reversed(range(2, weight.ndim)), 0)"),
)
