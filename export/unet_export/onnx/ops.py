"""ONNX emitters, one function per operation, dispatched on the operation's type.

Values are channels-first, (N, C, *spatial). Parameters keep PyTorch's shapes, which are also ONNX's. The output of a
node of the graph has that node's name; its intermediate values are called "<node>.<what>".
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from unet_spec import ops
from unet_spec.graph import Node

from ..precision.formats import PrecisionRecipe, quantized, storage
from ..precision.simulation import narrow_dtype, quantize, step, weight_ranges
from .lowering import DepthToSpace, Lowered

INPUT, OUTPUT = "image", "logits"


class Writer:
    """Collects ONNX nodes and initializers.

    Attributes:
        tensors: The network's weights.
        recipe: Number formats of the operations.
        dtype: Dtype of the weights and activations of the current node.
        spatial_dims: 2 or 3.
        nodes, initializers: Written so far, in order of writing.
    """

    def __init__(self, network: Lowered, dtype: np.dtype, recipe: PrecisionRecipe):
        self.tensors, self.recipe = network.tensors, recipe
        self.spatial_dims = network.graph.spatial_dims
        self.stored, self.quantized = storage(network.graph, recipe), quantized(network.graph, recipe)
        self.dtype = self._wide = dtype
        self.output = network.graph.output.name
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self._types: dict[str, np.dtype] = {INPUT: dtype}  # by name of the value
        self._casts: dict[tuple[str, np.dtype], str] = {}

    def write(self, node: Node, inputs: list[str]) -> str:
        """Writes one node of the graph; returns the name of its output."""
        kind = self.stored[node.name]
        self.dtype = self._wide if kind == "float32" else narrow_dtype(kind)
        if not node.is_input:
            inputs = [self.cast(value, self.dtype) for value in inputs]
        value = emit(node.op, node, inputs, self)
        self._types[value] = self.dtype
        if node.name == self.output and self.dtype != self._wide:
            self.dtype = self._wide
            return self.add("Cast", OUTPUT, [value], to=helper.np_dtype_to_tensor_dtype(self._wide))
        return value

    def cast(self, value: str, dtype: np.dtype) -> str:
        """The value in another dtype. Each cast is written once and shared by all nodes that need it."""
        if self._types[value] == dtype:
            return value
        if (value, dtype) not in self._casts:
            to = helper.np_dtype_to_tensor_dtype(dtype)
            self._casts[value, dtype] = self.add("Cast", f"{value}.{dtype.name}", [value], to=to)
        return self._casts[value, dtype]

    def add(self, op_type: str, name: str, inputs: list[str], **attributes: Any) -> str:
        """Adds an ONNX node with one output, both called `name`; the network's output is called OUTPUT."""
        value = OUTPUT if name == self.output and self.dtype == self._wide else name
        self.nodes.append(helper.make_node(op_type, inputs, [value], name=name, **attributes))
        return value

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """Adds an initializer, a weight or a constant operand, as C-contiguous, little-endian bytes."""
        array = np.ascontiguousarray(values, dtype=self.dtype if dtype is None else dtype)
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def operands(self, node: Node, inputs: list[str]) -> list[str]:
        """Input, weight and bias of a convolution, quantised and dequantised if the recipe requires it."""
        if node.name not in self.quantized:
            return inputs + self.parameters(node, "weight", "bias")
        name = f"{node.name}.weight"
        weight, precision = self.tensors[name].astype(np.float32), self.recipe.precision
        ranges = weight_ranges(weight, node.op)
        q, scale = quantize(weight, ranges, precision)
        image_scale = step(np.float32(self.recipe.ranges[node.name]), precision)
        # The zero points determine the dtype of q.
        x = [
            self.constant(f"{node.name}.input.scale", image_scale),
            self.constant(f"{node.name}.input.zero", 0, q.dtype),
        ]
        w = [
            self.constant(f"{name}.scale", scale.ravel()),
            self.constant(f"{name}.zero", np.zeros(scale.size), q.dtype),
        ]
        narrow = self.add("QuantizeLinear", f"{node.name}.input.quantized", [*inputs, *x])
        image = self.add("DequantizeLinear", f"{node.name}.input", [narrow, *x])
        kernel = self.constant(f"{name}.quantized", q, q.dtype)
        kernel = self.add("DequantizeLinear", name, [kernel, *w], axis=node.op.output_axis)
        return [image, kernel, *self.parameters(node, "bias")]

    def parameters(self, node: Node, *keys: str) -> list[str]:
        """The node's tensors with these keys; missing ones are skipped (a convolution may have no bias)."""
        names = [f"{node.name}.{key}" for key in keys if key in node.op.parameters()]
        return [self.constant(name, self.tensors[name]) for name in names]


@singledispatch
def emit(op: ops.Op, node: Node, inputs: list[str], writer: Writer) -> str:
    """Adds the ONNX nodes that compute `node` from the values `inputs`; returns the name of the output."""
    raise NotImplementedError(f"{node.name!r}: the operation {op.kind!r} has no ONNX emitter")


@emit.register
def _(op: ops.Input, node: Node, inputs: list[str], writer: Writer) -> str:
    return INPUT


@emit.register
def _(op: ops.Conv, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add(
        "Conv",
        node.name,
        writer.operands(node, inputs),
        kernel_shape=op.kernel,
        strides=op.stride,
        pads=op.padding * 2,  # low ends of all axes, then high ends
    )


@emit.register
def _(op: ops.ConvTranspose, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add(
        "ConvTranspose",
        node.name,
        writer.operands(node, inputs),
        kernel_shape=op.kernel,
        strides=op.stride,
    )


@emit.register
def _(op: DepthToSpace, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("DepthToSpace", node.name, inputs, blocksize=op.block[0], mode="CRD")


@emit.register
def _(op: ops.MaxPool, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("MaxPool", node.name, inputs, kernel_shape=op.window, strides=op.window)


@emit.register
def _(op: ops.Upsample, node: Node, inputs: list[str], writer: Writer) -> str:
    # Scales instead of sizes, so that one model works for every size. ONNX's scales are float32, in which integers are
    # exact.
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
    # An instance norm over groups, then a scale and a shift per channel. ONNX Runtime expands ONNX's GroupNormalization
    # to E[x²] − E[x]², which loses most digits if the mean is large.
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
    if op.function == "silu":  # ONNX has Swish only from opset 24
        sigmoid = writer.add("Sigmoid", f"{node.name}.sigmoid", inputs)
        return writer.add("Mul", node.name, [*inputs, sigmoid])
    op_type, attributes = _ACTIVATIONS[op.function]
    return writer.add(op_type, node.name, inputs, **attributes)


@emit.register
def _(op: ops.LeakyReLU, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("LeakyRelu", node.name, inputs, alpha=op.slope)


@emit.register
def _(op: ops.Dropout | ops.DropBlock, node: Node, inputs: list[str], writer: Writer) -> str:
    return inputs[0]  # the identity in inference


@emit.register
def _(op: ops.Concat, node: Node, inputs: list[str], writer: Writer) -> str:
    return writer.add("Concat", node.name, inputs, axis=1)


@emit.register
def _(op: ops.Crop, node: Node, inputs: list[str], writer: Writer) -> str:
    # Constant margins, counted from both ends, are right for every size and need no arithmetic on shapes.
    starts = writer.constant(f"{node.name}.starts", op.margin, np.int64)
    ends = writer.constant(f"{node.name}.ends", [-m for m in op.margin], np.int64)
    axes = writer.constant(f"{node.name}.axes", range(2, 2 + writer.spatial_dims), np.int64)
    return writer.add("Slice", node.name, [*inputs, starts, ends, axes])


@emit.register
def _(op: ops.Pad, node: Node, inputs: list[str], writer: Writer) -> str:
    pads = writer.constant(f"{node.name}.pads", [0, 0, *op.margin] * 2, np.int64)
    return writer.add("Pad", node.name, [*inputs, pads], mode="constant")
