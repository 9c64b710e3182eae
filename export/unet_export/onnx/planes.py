"""Rewrites a 3-D network as a 2-D network over its planes: the same logits, faster in ONNX Runtime on a CPU.

ONNX Runtime's 2-D convolutions are faster than its 3-D ones. The planes along the first axis form a batch, and a 3x3x3
convolution becomes 3x3 convolutions over sums of neighbouring planes: four instead of six for every two output planes,
by Winograd's minimal filtering F(2, 3) along that axis (Lavin and Gray 2016, arXiv 1509.09308):

    m0 = (d0 − d2) * g0            m1 = (d1 + d2) * (g0 + g1 + g2) / 2
    m3 = (d1 − d3) * g2            m2 = (d2 − d1) * (g0 − g1 + g2) / 2
    y0 = m0 + m1 + m2              y1 = m1 − m2 − m3

Its constants are 1 and 1/2, so the rounding error in float32 is negligible; the factors g are summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from unet_spec import InputError, NetworkConfig

from ..runtimes.onnx_runtime import OnnxRuntime
from .ops import INPUT, OUTPUT

POINTWISE = ("LeakyRelu", "Relu", "Add", "Elu", "Sigmoid", "Mul", "Identity")
"""Operations that do not depend on the order of the axes."""
_END = np.iinfo(np.int64).max


def can_planes(model: onnx.ModelProto, config: NetworkConfig) -> bool:
    """Whether `over_planes` supports all operations of a network."""
    supported_types = (*POINTWISE, *_RULES, "BatchNormalization", "Concat")
    fixed = {tensor.name for tensor in model.graph.initializer}

    def supported(node: onnx.NodeProto) -> bool:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = attributes.get("group", 1) == 1 and set(attributes.get("dilations", [1])) == {1}
        return node.op_type in supported_types and plain and not (node.op_type in POINTWISE and fixed & set(node.input))

    return config.spatial_dims == 3 and all(map(supported, model.graph.node))


def over_planes(model: onnx.ModelProto, config: NetworkConfig, size: tuple[int, ...]) -> onnx.ModelProto:
    """Rewrites a model for one image of `size` at a time. Input, output and metadata stay the same.

    Raises InputError if `can_planes` is false, or the size does not fit.
    """
    if not can_planes(model, config):
        raise InputError("this network cannot be computed by planes: it is not 3-D, or has other operations")
    config.geometry.check(size)
    depths = {name: shape[0] for name, shape in config.graph.shapes(size).items()}
    return _Rewriter(model, depths | {INPUT: size[0]}).run()


class PlanesRuntime:
    """Like `OnnxRuntime`, for images of one size, which are computed one by one."""

    name = "onnx"

    def __init__(
        self, model: onnx.ModelProto, config: NetworkConfig, size: tuple[int, ...], threads: int | None = None
    ):
        """Raises InputError like `over_planes`."""
        self.config, self.size = config, tuple(size)
        self._runtime = OnnxRuntime(over_planes(model, config, size).SerializeToString(), threads)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Computes logits (N, D, H, W, K) of images (N, D, H, W, C) float32. Raises InputError on another size."""
        if images.shape[1:-1] != self.size:
            raise InputError(f"images of {images.shape[1:-1]} voxels; this network is laid out for {self.size}")
        return np.concatenate([self._runtime.run(image[None]) for image in images])


class _Rewriter:
    """Rewrites node by node. A tensor (1, C, D, H, W) becomes (D, C, H, W) under the same name."""

    def __init__(self, model: onnx.ModelProto, depths: dict[str, int]):
        self.model, self.depths = model, depths
        self.weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def run(self) -> onnx.ModelProto:
        old = self.model.graph
        self._emit("Squeeze", [INPUT, self._constant("axis", np.array([0]))], "planes.input.squeezed")
        self._emit("Transpose", ["planes.input.squeezed"], "planes.input", perm=[1, 0, 2, 3])
        for node in old.node:
            _RULES.get(node.op_type, _Rewriter._same)(self, node)
        (output,) = (node.output[0] for node in old.node if OUTPUT in node.output)
        self._emit("Transpose", [self._name(output)], "planes.output.transposed", perm=[1, 0, 2, 3])
        self._emit("Unsqueeze", ["planes.output.transposed", "planes.axis"], OUTPUT)
        used = {name for node in self.nodes for name in node.input}
        initializers = [t for t in old.initializer if t.name in used]
        added = [numpy_helper.from_array(array, name) for name, array in self.constants.items()]
        graph = helper.make_graph(self.nodes, old.name, list(old.input), list(old.output), [*initializers, *added])
        new = helper.make_model(graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version)
        new.metadata_props.extend(self.model.metadata_props)
        return new

    def _name(self, tensor: str) -> str:
        return {INPUT: "planes.input", OUTPUT: "planes.output"}.get(tensor, tensor)

    def _emit(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, array: np.ndarray) -> str:
        self.constants[f"planes.{name}"] = array
        return f"planes.{name}"

    def _slice(self, source: str, output: str, start: int, end: int, step: int) -> str:
        bounds = [self._constant(f"at.{n}", np.array([n])) for n in (start, end, 0, step)]
        return self._emit("Slice", [source, *bounds], output)

    def _same(self, node: onnx.NodeProto) -> None:
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        del copied.input[:], copied.output[:]
        copied.input.extend(map(self._name, node.input))
        copied.output.extend(map(self._name, node.output))
        self.nodes.append(copied)

    def _conv(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kernel = self.weights[node.input[1]]
        stride, pads = attributes.get("strides", [1, 1, 1]), attributes.get("pads", [0] * 6)
        flat = {"kernel_shape": list(kernel.shape[3:]), "strides": list(stride[1:]), "pads": [*pads[1:3], *pads[4:]]}
        name, bias = self._name(node.output[0]), list(node.input[2:])
        source, depth = self._name(node.input[0]), kernel.shape[2]
        if pads[0] or pads[3]:
            amounts = self._constant(f"{name}.pads", np.array([pads[0], 0, 0, 0, pads[3], 0, 0, 0]))
            source = self._emit("Pad", [source, amounts], f"{name}.padded")
        count = self.depths[node.input[0]] + pads[0] + pads[3]
        if depth == 3 and stride[0] == 1 and count % 2 == 0:
            self._winograd(name, source, kernel, bias, flat)
            return
        if depth > 1:  # the planes that an output plane depends on, concatenated as channels
            last = (count - depth) // stride[0] * stride[0]
            parts = [self._slice(source, f"{name}.plane{k}", k, k + last + 1, stride[0]) for k in range(depth)]
            source = self._emit("Concat", parts, f"{name}.planes", axis=1)
        elif stride[0] > 1:
            source = self._slice(source, f"{name}.planes", 0, _END, stride[0])
        flattened = np.ascontiguousarray(np.moveaxis(kernel, 2, 1)).reshape(len(kernel), -1, *kernel.shape[3:])
        self._emit("Conv", [source, self._constant(f"{name}.weight", flattened), *bias], name, **flat)

    def _winograd(self, name: str, source: str, kernel: np.ndarray, bias: list[str], flat: dict[str, Any]) -> None:
        d = [self._slice(source, f"{name}.d{k}", k, (-2, -1, _END, _END)[k], 2) for k in range(4)]
        v = [
            self._emit("Sub", [d[0], d[2]], f"{name}.v0"),
            self._emit("Add", [d[1], d[2]], f"{name}.v1"),
            self._emit("Sub", [d[2], d[1]], f"{name}.v2"),
            self._emit("Sub", [d[1], d[3]], f"{name}.v3"),
        ]
        g = np.moveaxis(kernel.astype(np.float64), 2, 0)
        factors = (g[0], (g[0] + g[1] + g[2]) / 2, (g[0] - g[1] + g[2]) / 2, g[2])
        m = []
        for k, factor in enumerate(factors):
            weight = self._constant(f"{name}.weight{k}", np.ascontiguousarray(factor.astype(kernel.dtype)))
            # m1 is part of both outputs, so only m1 has the bias.
            m.append(self._emit("Conv", [v[k], weight, *(bias if k == 1 else [])], f"{name}.m{k}", **flat))
        self._emit("Add", [m[0], m[1]], f"{name}.m01")
        self._emit("Add", [f"{name}.m01", m[2]], f"{name}.y0")
        self._emit("Sub", [m[1], m[2]], f"{name}.m12")
        self._emit("Sub", [f"{name}.m12", m[3]], f"{name}.y1")
        self._interleave([f"{name}.y0", f"{name}.y1"], name, kernel.shape[0])

    def _interleave(self, parts: list[str], name: str, channels: int) -> None:
        """Planes 0, 0', 1, 1', …"""
        axis = self._constant("one", np.array([1]))
        rows = [self._emit("Unsqueeze", [part, axis], f"{part}.row") for part in parts]
        self._emit("Concat", rows, f"{name}.rows", axis=1)
        height = self._emit("Shape", [parts[0]], f"{name}.size", start=2)
        head = self._constant(f"channels.{channels}", np.array([-1, channels]))
        shape = self._emit("Concat", [head, height], f"{name}.shape", axis=0)
        self._emit("Reshape", [f"{name}.rows", shape], name)

    def _conv_transpose(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        kernel, stride = self.weights[node.input[1]], attributes.get("strides", [1, 1, 1])
        if tuple(stride) != kernel.shape[2:] or any(attributes.get("pads", [])):
            raise InputError(f"{node.name}: only non-overlapping transposed convolutions are supported")
        name, source, bias = self._name(node.output[0]), self._name(node.input[0]), list(node.input[2:])
        flat = {"kernel_shape": list(kernel.shape[3:]), "strides": list(stride[1:])}
        depth = kernel.shape[2]
        outputs = [name] if depth == 1 else [f"{name}.y{k}" for k in range(depth)]
        for k, output in enumerate(outputs):
            weight = self._constant(f"{name}.weight{k}", np.ascontiguousarray(kernel[:, :, k]))
            self._emit("ConvTranspose", [source, weight, *bias], output, **flat)
        if depth > 1:
            self._interleave(outputs, name, kernel.shape[1])

    def _pool(self, node: onnx.NodeProto) -> None:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        window, stride = attributes["kernel_shape"], attributes.get("strides", [1, 1, 1])
        if list(window) != list(stride) or any(attributes.get("pads", [])):
            raise InputError(f"{node.name}: only non-overlapping pooling is supported")
        name, source, depth = self._name(node.output[0]), self._name(node.input[0]), window[0]
        last = self.depths[node.input[0]] // depth * depth
        if depth > 1:
            parts = [self._slice(source, f"{name}.plane{k}", k, last, depth) for k in range(depth)]
            joined = "Max" if node.op_type == "MaxPool" else "Mean"
            source = self._emit(joined, parts, f"{name}.{joined.lower()}")
        self._emit(node.op_type, [source], name, kernel_shape=list(window[1:]), strides=list(stride[1:]))

    def _crop(self, node: onnx.NodeProto) -> None:
        """Crops depth, height and width: axes 2, 3, 4 of the volume, and 0, 2, 3 of its planes."""
        source, *bounds = (self._name(name) for name in node.input)
        axes = [{2: 0, 3: 2, 4: 3}[int(axis)] for axis in self.weights[bounds[2]]]
        name = self._name(node.output[0])
        self._emit("Slice", [source, *bounds[:2], self._constant(f"{name}.axes", np.array(axes))], name)

    def _norm(self, node: onnx.NodeProto) -> None:
        """The mean is over all planes, so the tensor is transposed to the volume's layout and back."""
        name = self._name(node.output[0])
        axis = self._constant("axis", np.array([0]))
        self._emit("Transpose", [self._name(node.input[0])], f"{name}.channels", perm=[1, 0, 2, 3])
        self._emit("Unsqueeze", [f"{name}.channels", axis], f"{name}.volume")
        epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
        inputs = [f"{name}.volume", *node.input[1:]]
        self._emit("InstanceNormalization", inputs, f"{name}.normed", epsilon=epsilon)
        self._emit("Squeeze", [f"{name}.normed", axis], f"{name}.squeezed")
        self._emit("Transpose", [f"{name}.squeezed"], name, perm=[1, 0, 2, 3])


_RULES: dict[str, Callable[[_Rewriter, onnx.NodeProto], None]] = {
    "Conv": _Rewriter._conv,
    "ConvTranspose": _Rewriter._conv_transpose,
    "InstanceNormalization": _Rewriter._norm,
    "AveragePool": _Rewriter._pool,
    "MaxPool": _Rewriter._pool,
    "Slice": _Rewriter._crop,
}
