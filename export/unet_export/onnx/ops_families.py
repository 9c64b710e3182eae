"""ONNX emitters of operations that only architectures other than the U-Net use. Conventions as in `ops`.

The noise of a latent variable is a second input, "noise" (N, features), with a default of zeros: with only the image, a
runtime computes the output at the latent distribution's mean. One image with noise (S, features) gives S logits;
everything that does not depend on the noise is computed once.
"""

from __future__ import annotations

import math

import numpy as np
from onnx import ValueInfoProto, helper

from unet_spec import ops
from unet_spec.graph import Graph, Node

from .ops import Writer, emit


def further_inputs(graph: Graph, element: int) -> list[ValueInfoProto]:
    """The model's inputs besides the image. `element`: ONNX's number of the dtype."""
    return [
        helper.make_tensor_value_info(node.name, element, [f"{node.name}_batch", node.op.features])
        for node in graph
        if isinstance(node.op, ops.LatentInput)
    ]


@emit.register
def _(op: ops.LatentInput, node: Node, inputs: list[str], writer: Writer) -> str:
    default = writer.constant(node.name, np.zeros((1, op.features)))
    shape = writer.constant(f"{node.name}.shape", [0, op.features, *[1] * writer.spatial_dims], np.int64)
    return writer.add("Reshape", f"{node.name}.map", [default, shape])


@emit.register
def _(op: ops.LatentSample, node: Node, inputs: list[str], writer: Writer) -> str:
    name = node.name
    cuts = [writer.constant(f"{name}.cut{i}", [i * op.features], np.int64) for i in range(3)]
    axis = writer.constant(f"{name}.axis", [1], np.int64)
    mean = writer.add("Slice", f"{name}.mean", [inputs[0], cuts[0], cuts[1], axis])
    log_std = writer.add("Slice", f"{name}.log_std", [inputs[0], cuts[1], cuts[2], axis])
    std = writer.add("Exp", f"{name}.std", [log_std])
    return writer.add("Add", name, [mean, writer.add("Mul", f"{name}.moved", [std, inputs[1]])])


def _size_of(writer: Writer, name: str, value: str) -> str:
    """The spatial sizes of a value, an int64 vector."""
    return writer.add("Shape", f"{name}.size", [value], start=2)


@emit.register
def _(op: ops.ExpandLike, node: Node, inputs: list[str], writer: Writer) -> str:
    ones = writer.constant(f"{node.name}.ones", [1, 1], np.int64)
    shape = writer.add("Concat", f"{node.name}.shape", [ones, _size_of(writer, node.name, inputs[1])], axis=0)
    return writer.add("Expand", node.name, [inputs[0], shape])


@emit.register
def _(op: ops.RepeatLike, node: Node, inputs: list[str], writer: Writer) -> str:
    ones = writer.constant(f"{node.name}.ones", [1] * (1 + writer.spatial_dims), np.int64)
    samples = writer.add("Shape", f"{node.name}.samples", [inputs[1]], start=0, end=1)
    shape = writer.add("Concat", f"{node.name}.shape", [samples, ones], axis=0)
    return writer.add("Expand", node.name, [inputs[0], shape])


@emit.register
def _(op: ops.CropLike, node: Node, inputs: list[str], writer: Writer) -> str:
    starts = writer.constant(f"{node.name}.starts", [op.offset] * writer.spatial_dims, np.int64)
    ends = writer.add("Add", f"{node.name}.ends", [_size_of(writer, node.name, inputs[1]), starts])
    axes = writer.constant(f"{node.name}.axes", range(2, 2 + writer.spatial_dims), np.int64)
    return writer.add("Slice", node.name, [inputs[0], starts, ends, axes])


@emit.register
def _(op: ops.PadEnd, node: Node, inputs: list[str], writer: Writer) -> str:
    low = [0] * (2 + writer.spatial_dims)
    pads = writer.constant(f"{node.name}.pads", [*low, 0, 0, *[op.margin] * writer.spatial_dims], np.int64)
    return writer.add("Pad", node.name, [*inputs, pads], mode="constant")


@emit.register
def _(op: ops.Add, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("Sum", node.name, inputs) if len(inputs) != 2 else writer.add("Add", node.name, inputs)


def _register(kind: type, op_type: str) -> None:
    """Registers an operation that is one ONNX node without attributes."""
    emit.register(kind, lambda op, node, inputs, writer: writer.add(op_type, node.name, inputs))


_register(ops.Multiply, "Mul")
_register(ops.Average, "Mean")
_register(ops.Sigmoid, "Sigmoid")
_register(ops.GlobalAvgPool, "GlobalAveragePool")


@emit.register
def _(op: ops.PReLU, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("PRelu", node.name, inputs + writer.parameters(node, "weight"))


@emit.register
def _(op: ops.AvgPool, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("AveragePool", node.name, inputs, kernel_shape=op.window, strides=op.window)


@emit.register
def _(op: ops.WindowMaxPool, node: Node, inputs: list[str], writer: Writer) -> str:
    window, stride = ([n] * writer.spatial_dims for n in (op.window, op.stride))
    return writer.add("MaxPool", node.name, inputs, kernel_shape=window, strides=stride, ceil_mode=int(op.ceil))


def _over_channels(reduction: str, node: Node, inputs: list[str], writer: Writer) -> str:
    axis = writer.constant(f"{node.name}.axis", [1], np.int64)
    return writer.add(reduction, node.name, [*inputs, axis], keepdims=1)


@emit.register
def _(op: ops.ChannelMean, node: Node, inputs: list[str], writer: Writer) -> str:
    return _over_channels("ReduceMean", node, inputs, writer)


@emit.register
def _(op: ops.ChannelMax, node: Node, inputs: list[str], writer: Writer) -> str:
    return _over_channels("ReduceMax", node, inputs, writer)


@emit.register
def _(op: ops.NearestUpsample, node: Node, inputs: list[str], writer: Writer) -> str:
    scales = writer.constant(f"{node.name}.scales", [1.0, 1.0, *[op.scale] * writer.spatial_dims], np.float32)
    return writer.add(
        "Resize",
        node.name,
        [*inputs, "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@emit.register
def _(op: ops.StdConv, node: Node, inputs: list[str], writer: Writer) -> str:
    # The kernel is standardised here, so that runtimes compute a plain convolution. The trained kernel is stored, too,
    # since the file must contain the checkpoint's tensors and standardisation cannot be inverted.
    (raw,) = writer.parameters(node, "weight")
    kernel = writer.constant(f"{raw}.standardised", op.standardised(np.asarray(writer.tensors[raw], np.float64)))
    return writer.add(
        "Conv",
        node.name,
        [*inputs, kernel, *writer.parameters(node, "bias")],
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding * 2,
    )


@emit.register
def _(op: ops.CroppedConvTranspose, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add(
        "ConvTranspose",
        node.name,
        writer.operands(node, inputs),
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=[op.low] * writer.spatial_dims + [op.high] * writer.spatial_dims,
    )


@emit.register
def _(op: ops.ShiftBatchNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    scale = writer.constant(f"{node.name}.weight", np.ones(op.features))
    own = writer.parameters(node, "bias", "running_mean", "running_var")
    return writer.add("BatchNormalization", node.name, [*inputs, scale, *own], epsilon=op.eps)


@emit.register
def _(op: ops.PlainInstanceNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    scale = writer.constant(f"{node.name}.weight", np.ones(op.features))
    shift = writer.constant(f"{node.name}.bias", np.zeros(op.features))
    return writer.add("InstanceNormalization", node.name, [*inputs, scale, shift], epsilon=op.eps)


def _axes_with_channels_last(writer: Writer) -> tuple[list[int], list[int]]:
    dims = writer.spatial_dims
    return [0, *range(2, 2 + dims), 1], [0, 1 + dims, *range(1, 1 + dims)]


@emit.register
def _(op: ops.LayerNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    there, back = _axes_with_channels_last(writer)
    x = writer.add("Transpose", f"{node.name}.channels_last", inputs, perm=there)
    own = writer.parameters(node, "weight", "bias")
    x = writer.add("LayerNormalization", f"{node.name}.normalized", [x, *own], axis=-1, epsilon=op.eps)
    return writer.add("Transpose", node.name, [x], perm=back)


@emit.register
def _(op: ops.Linear, node: Node, inputs: list[str], writer: Writer) -> str:
    # A 1x1 convolution, so that channels stay first.
    ones = [1] * writer.spatial_dims
    kernel = writer.tensors[f"{node.name}.weight"].reshape(op.out_features, op.in_features, *ones)
    weight = writer.constant(f"{node.name}.weight", kernel)
    return writer.add("Conv", node.name, [*inputs, weight, *writer.parameters(node, "bias")], kernel_shape=ones)


@emit.register
def _(op: ops.Attention, node: Node, inputs: list[str], writer: Writer) -> str:
    """Uses elementary operations, since not every builder supports ONNX's Attention (opset 23)."""
    name, features = node.name, op.features // op.heads
    heads = writer.constant(f"{name}.heads", [0, op.heads, features, -1], np.int64)
    shape = writer.add("Shape", f"{name}.shape", [inputs[0]])
    q, k, v = (
        writer.add("Reshape", f"{name}.{part}", [x, heads]) for part, x in zip("qkv", inputs, strict=True)
    )  # (N, heads, features, tokens)
    scale = writer.constant(f"{name}.scale", 1 / math.sqrt(features))
    q = writer.add(
        "Transpose", f"{name}.q_tokens", [writer.add("Mul", f"{name}.q_scaled", [q, scale])], perm=[0, 1, 3, 2]
    )
    weights = writer.add("Softmax", f"{name}.weights", [writer.add("MatMul", f"{name}.scores", [q, k])], axis=-1)
    weights = writer.add("Transpose", f"{name}.weights_by_key", [weights], perm=[0, 1, 3, 2])
    return writer.add("Reshape", name, [writer.add("MatMul", f"{name}.mixed", [v, weights]), shape])


@emit.register
def _(op: ops.PositionEmbedding, node: Node, inputs: list[str], writer: Writer) -> str:
    name = node.name
    as_map = writer.constant(f"{name}.map_shape", [1, *op.grid, op.features], np.int64)
    vectors = writer.add("Reshape", f"{name}.map", [*writer.parameters(node, "weight"), as_map])
    _, back = _axes_with_channels_last(writer)
    grid = writer.add("Transpose", f"{name}.grid", [vectors], perm=back)
    head = writer.constant(f"{name}.head", [1, op.features], np.int64)
    sizes = writer.add("Concat", f"{name}.sizes", [head, _size_of(writer, name, inputs[0])], axis=0)
    resized = writer.add(
        "Resize",
        f"{name}.resized",
        [grid, "", "", sizes],
        mode="linear",
        coordinate_transformation_mode="align_corners",
    )
    return writer.add("Add", name, [*inputs, resized])


@emit.register
def _(op: ops.ScaleShift, node: Node, inputs: list[str], writer: Writer) -> str:
    column = (op.features,) + (1,) * writer.spatial_dims
    weight, bias = (
        writer.constant(f"{node.name}.{key}", writer.tensors[f"{node.name}.{key}"].reshape(column))
        for key in ("weight", "bias")
    )
    return writer.add("Add", node.name, [writer.add("Mul", f"{node.name}.scaled", [*inputs, weight]), bias])


@emit.register
def _(op: ops.MeanProbability, node: Node, inputs: list[str], writer: Writer) -> str:
    name, numbered = node.name, list(enumerate(inputs))
    if op.function == "softmax":
        logs = [writer.add("LogSoftmax", f"{name}.log{i}", [x], axis=1) for i, x in numbered]
        count = writer.constant(f"{name}.count", math.log(len(inputs)))
        return writer.add("Sub", name, [_log_sum_exp(f"{name}.sum", logs, writer), count])
    # log sigmoid(x) = min(x, 0) − log(1 + exp(−|x|)), and log sigmoid(−x) = log sigmoid(x) − x. No exponential
    # overflows.
    zero, one = writer.constant(f"{name}.zero", 0.0), writer.constant(f"{name}.one", 1.0)
    inside = []
    for i, x in numbered:
        small = writer.add("Neg", f"{name}.small{i}", [writer.add("Abs", f"{name}.size{i}", [x])])
        above = writer.add("Add", f"{name}.above{i}", [writer.add("Exp", f"{name}.exp{i}", [small]), one])
        low = writer.add("Min", f"{name}.low{i}", [x, zero])
        inside.append(writer.add("Sub", f"{name}.inside{i}", [low, writer.add("Log", f"{name}.soft{i}", [above])]))
    outside = [writer.add("Sub", f"{name}.outside{i}", [inside[i], x]) for i, x in numbered]
    sums = [_log_sum_exp(f"{name}.{part}", logs, writer) for part, logs in (("in", inside), ("out", outside))]
    return writer.add("Sub", name, sums)


def _log_sum_exp(name: str, logs: list[str], writer: Writer) -> str:
    """The elementwise log-sum-exp: the maximum is subtracted first and added at the end."""
    top = writer.add("Max", f"{name}.top", logs)
    below = [writer.add("Sub", f"{name}.below{i}", [x, top]) for i, x in enumerate(logs)]
    terms = [writer.add("Exp", f"{name}.term{i}", [x]) for i, x in enumerate(below)]
    log = writer.add("Log", f"{name}.log", [writer.add("Sum", f"{name}.terms", terms)])
    return writer.add("Add", name, [log, top])
