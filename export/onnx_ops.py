"""How each operation of the spec is said in ONNX: one function an operation, chosen by the operation's type.

Values are channels-first, (N, C, *spatial), and parameters keep PyTorch's shapes, which are ONNX's too. The value that
a node of the graph computes has that node's name; a helper inside of it is called "<node>.<what>".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from unet_spec import ops
from unet_spec.graph import Graph, Node

INPUT, OUTPUT = "image", "logits"


class Writer:
    """Collects ONNX nodes and initializers.

    Attributes:
        tensors: the network's own, by full name.
        dtype: of every weight and activation.
        spatial_dims: 2 or 3.
        nodes, initializers: what was written so far, in order.
    """

    def __init__(self, graph: Graph, tensors: Mapping[str, np.ndarray], dtype: np.dtype):
        self.tensors, self.dtype = tensors, dtype
        self.spatial_dims = graph.spatial_dims
        self.output = graph.output.name
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """One ONNX node with one output; both are called `name`, but the network's own output, which is OUTPUT."""
        value = OUTPUT if name == self.output else name
        self.nodes.append(helper.make_node(op_type, inputs, [value], name=name, **attributes))
        return value

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """An initializer: a weight or a constant operand. C-contiguous, little-endian bytes."""
        array = np.ascontiguousarray(values, dtype=self.dtype if dtype is None else dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def parameters(self, node: Node, *wanted: str) -> list[str]:
        """The node's own tensors, those of `wanted` that it has (a convolution may have no bias)."""
        names = [f"{node.name}.{key}" for key in wanted if key in node.op.parameters()]
        return [self.constant(name, self.tensors[name]) for name in names]


@singledispatch
def emit(op: ops.Op, node: Node, inputs: list[str], writer: Writer) -> str:
    """Adds what computes `node` from the values `inputs`; returns the name of the value that holds its output."""
    raise NotImplementedError(f"{node.name!r}: no ONNX is written yet for the operation {op.kind!r}")


@emit.register
def _(op: ops.Input, node: Node, inputs: list[str], writer: Writer) -> str:
    return INPUT


@emit.register
def _(op: ops.Conv, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add(
        "Conv",
        node.name,
        inputs + writer.parameters(node, "weight", "bias"),
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding * 2,  # all the low ends, then all the high ends
    )


@emit.register
def _(op: ops.ConvTranspose, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add(
        "ConvTranspose",
        node.name,
        inputs + writer.parameters(node, "weight", "bias"),
        kernel_shape=op.kernel,
        strides=op.stride,
    )


@emit.register
def _(op: ops.MaxPool, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("MaxPool", node.name, inputs, kernel_shape=op.window, strides=op.window)


@emit.register
def _(op: ops.Upsample, node: Node, inputs: list[str], writer: Writer) -> str:
    # Scales, not sizes, so that one model serves every size; ONNX has them in float32 only, and 2.0 is exact in it.
    scales = writer.constant(f"{node.name}.scales", [1.0, 1.0, *[op.scale] * writer.spatial_dims], np.float32)
    positions = "align_corners" if op.align_corners else "half_pixel"
    return writer.add(
        "Resize", node.name, [*inputs, "", scales], mode="linear", coordinate_transformation_mode=positions
    )


@emit.register
def _(op: ops.BatchNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    own = writer.parameters(node, "weight", "bias", "running_mean", "running_var")
    return writer.add("BatchNormalization", node.name, inputs + own, epsilon=op.eps)


@emit.register
def _(op: ops.InstanceNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    own = writer.parameters(node, "weight", "bias")
    return writer.add("InstanceNormalization", node.name, inputs + own, epsilon=op.eps)


@emit.register
def _(op: ops.GroupNorm, node: Node, inputs: list[str], writer: Writer) -> str:
    # An instance norm over groups, with a scale and a shift per channel after it. ONNX's own GroupNormalization is
    # expanded by ONNX Runtime to E[x²] − E[x]², which loses most digits where the mean is large.
    name = node.name
    grouped_shape = writer.constant(f"{name}.grouped_shape", [0, op.groups, -1], np.int64)
    ones = writer.constant(f"{name}.ones", np.ones(op.groups))
    zeros = writer.constant(f"{name}.zeros", np.zeros(op.groups))
    shape = writer.add("Shape", f"{name}.shape", inputs)
    x = writer.add("Reshape", f"{name}.grouped", [*inputs, grouped_shape])
    x = writer.add("InstanceNormalization", f"{name}.normalized", [x, ones, zeros], epsilon=op.eps)
    x = writer.add("Reshape", f"{name}.ungrouped", [x, shape])
    column = (op.features,) + (1,) * writer.spatial_dims
    weight, bias = (
        writer.constant(f"{name}.{key}", writer.tensors[f"{name}.{key}"].reshape(column)) for key in ("weight", "bias")
    )
    x = writer.add("Mul", f"{name}.scaled", [x, weight])
    return writer.add("Add", name, [x, bias])


_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "elu": ("Elu", {"alpha": 1.0}),
    "gelu": ("Gelu", {"approximate": "none"}),
}


@emit.register
def _(op: ops.Activation, node: Node, inputs: list[str], writer: Writer) -> str:
    if op.function == "silu":  # an operation of its own only from opset 24
        sigmoid = writer.add("Sigmoid", f"{node.name}.sigmoid", inputs)
        return writer.add("Mul", node.name, [*inputs, sigmoid])
    op_type, attributes = _ACTIVATIONS[op.function]
    return writer.add(op_type, node.name, inputs, **attributes)


@emit.register
def _(op: ops.Dropout, node: Node, inputs: list[str], writer: Writer) -> str:
    return inputs[0]  # does nothing outside of training


@emit.register
def _(op: ops.Concat, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("Concat", node.name, inputs, axis=1)


@emit.register
def _(op: ops.Crop, node: Node, inputs: list[str], writer: Writer) -> str:
    # Constant margins, counted from both ends: right for every size, and without arithmetic on shapes.
    starts = writer.constant(f"{node.name}.starts", op.margin, np.int64)
    ends = writer.constant(f"{node.name}.ends", [-m for m in op.margin], np.int64)
    axes = writer.constant(f"{node.name}.axes", range(2, 2 + writer.spatial_dims), np.int64)
    return writer.add("Slice", node.name, [*inputs, starts, ends, axes])


@emit.register
def _(op: ops.Pad, node: Node, inputs: list[str], writer: Writer) -> str:
    pads = writer.constant(f"{node.name}.pads", [0, 0, *op.margin] * 2, np.int64)
    return writer.add("Pad", node.name, [*inputs, pads], mode="constant")
