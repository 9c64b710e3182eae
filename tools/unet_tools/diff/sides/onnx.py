"""The spec's graph as one side of a comparison, computed by ONNX Runtime in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from unet_export import emit_onnx
from unet_export.onnx.ops import INPUT, OUTPUT
from unet_spec import Checkpoint, Node

from .graph import GraphSide


class OnnxSide(GraphSide):
    """Runs the emitted model, with every node's value as an output, and each node as a separate model, on the CPU."""

    def __init__(self, checkpoint: Checkpoint, name: str):
        super().__init__(name, checkpoint.config.graph)
        self.full = checkpoint.config.graph
        self.model = emit_onnx(checkpoint.config, checkpoint.tensors)
        self.written = {value for node in self.model.graph.node for value in node.output}
        self.names = [node.name for node in self.full if node.name in self.written]
        self.model.graph.output.extend(self._info(name) for name in self.names)
        self.session = _session(self.model)
        self._layers: dict[str, tuple[ort.InferenceSession, list[str], str]] = {}

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        values = _evaluate(self.session, {INPUT: image}, [*self.names, OUTPUT])
        named = dict(zip([*self.names, self.full.output.name], values, strict=True))
        return self.full.default_inputs(image) | named

    def compute(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        if self._vanished(node):
            return inputs[0]
        session, first, last = self._layer(node.name)
        return _evaluate(session, dict(zip(first, inputs, strict=True)), [last])[0]

    def _vanished(self, node: Node) -> bool:
        """Whether a node, such as dropout, has no node in the model because it is the identity in inference."""
        return node.name not in self.written and node.name != self.full.output.name

    def _value(self, name: str) -> str:
        """The model's name of a node's value."""
        node = self.full[name]
        if node.is_input:
            return INPUT if node is self.full.input else f"{name}.map"  # after the noise is reshaped to a map
        if self._vanished(node):
            return self._value(node.inputs[0])
        return OUTPUT if node is self.full.output else name

    def _layer(self, name: str) -> tuple[ort.InferenceSession, list[str], str]:
        """The nodes of the model from a layer's inputs to its output as a separate model, with its inputs and
        output."""
        if name not in self._layers:
            inputs, output = [self._value(i) for i in self.full[name].inputs], self._value(name)
            needed, body = {output}, []
            for node in reversed(self.model.graph.node):
                if needed & set(node.output):
                    body.insert(0, node)
                    needed |= set(node.input) - set(inputs)
            weights = [tensor for tensor in self.model.graph.initializer if tensor.name in needed]
            first = [self._info(key) for key in dict.fromkeys(inputs)]
            graph = onnx.helper.make_graph(body, "layer", first, [self._info(output)], weights)
            versions: Any = {"opset_imports": self.model.opset_import, "ir_version": self.model.ir_version}
            self._layers[name] = _session(onnx.helper.make_model(graph, **versions)), inputs, output
        return self._layers[name]

    def _info(self, name: str) -> onnx.ValueInfoProto:
        unknown = [None] * (self.full.spatial_dims + 2)
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, unknown)


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _evaluate(session: ort.InferenceSession, inputs: Mapping[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
    """Runs a session on arrays with channels last; the model's arrays have channels first."""
    first = {key: np.ascontiguousarray(np.moveaxis(x, -1, 1), np.float32) for key, x in inputs.items()}
    return [np.moveaxis(np.asarray(x), 1, -1) for x in session.run(names, first)]
