"""The spec's graph as one side of a comparison: computed by NumPy in float64, or by ONNX Runtime in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from unet_spec import Checkpoint, Graph, InputError, Node
from unet_spec.ops import Input, LatentInput
from unet_tools.diff.trace import OUTPUT, Call, Outputs, Place, Trace

Compute = Callable[[Node, list[np.ndarray]], np.ndarray]


class GraphSide:
    """Every node is a call within the network's own, which has no code but that of nodes without counterpart. Of the
    graph, only what the logits depend on; further inputs are what `activations` gives for them."""

    flat = True
    differentiable = False

    def __init__(
        self, name: str, graph: Graph, activations: Callable[[np.ndarray], dict[str, np.ndarray]], compute: Compute
    ):
        self.name, self.graph, self.activations, self.compute = name, graph.inference, activations, compute

    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        (image,) = inputs
        values = {self.graph.input.name: image} | self.activations(image)
        self.fed = {node.name: values[node.name] for node in self.graph if isinstance(node.op, Input)}
        eps = float(np.finfo(values[self.graph.output.name].dtype).eps)
        nodes = [node for node in self.graph if node.name in values and not isinstance(node.op, Input)]
        logits = {"": values[self.graph.output.name]}
        trace = {"": Call("", "", None, "Graph", [image], logits, {}, eps, 0, 2 * len(nodes) + 2)}
        for i, node in enumerate(nodes):
            given, output = [values[self._source(name, values)] for name in node.inputs], {"": values[node.name]}
            shapes = {name: p.shape for name, p in node.op.parameters().items() if p.role == "parameter"}
            kind, start = type(node.op).__name__, 2 * i + 1
            trace[node.name] = Call(node.name, node.name, "", kind, given, output, shapes, eps, start, start + 1)
        self.trace = trace
        return trace

    def _source(self, name: str, values: Mapping[str, Any]) -> str:
        """A node that has left no value in the model, as dropout does, hands on what it was given."""
        return name if name in values else self._source(self.graph[name].inputs[0], values)

    def run(self, key: str, inputs: Sequence[np.ndarray], forced: Mapping[str, Outputs]) -> dict[Place, np.ndarray]:
        if key:
            return {(OUTPUT, ""): self.compute(self.graph[key], list(inputs))}
        found: dict[Place, np.ndarray] = {}
        values = self.fed | {self.graph.input.name: inputs[0]}
        for node in self.graph:
            if isinstance(node.op, Input):
                continue
            given = [values[name] for name in node.inputs]
            if node.name in forced:
                found |= {(node.name, i): array for i, array in enumerate(given)}
                values[node.name] = forced[node.name][""]
            else:
                values[node.name] = self.compute(node, given)
        return found | {(OUTPUT, ""): values[self.graph.output.name]}

    def differentiate(self, cotangents: Outputs) -> None:
        raise InputError(f"{self.name} has no backward pass; compare jax with torch")

    def pull_back(
        self,
        key: str,
        inputs: Sequence[np.ndarray],
        forced: Mapping[str, Outputs],
        cotangents: Mapping[Place, np.ndarray],
    ) -> dict[Place, np.ndarray]:
        raise InputError(f"{self.name} has no backward pass; compare jax with torch")


def reference_side(checkpoint: Checkpoint, training: bool, name: str) -> GraphSide:
    """NumPy, always in float64, on the tensors as they are."""
    graph = checkpoint.config.graph
    tensors = {key: t.astype(np.float64) for key, t in checkpoint.tensors.items()}

    def compute(node: Node, given: list[np.ndarray]) -> np.ndarray:
        own = {key: tensors[f"{node.name}.{key}"] for key in node.op.parameters()}
        return node.op.compute(own, *(x.astype(np.float64) for x in given), training=training)

    return GraphSide(name, graph, lambda x: graph.activations(tensors, x.astype(np.float64), training), compute)


def onnx_side(checkpoint: Checkpoint, name: str) -> GraphSide:
    """ONNX Runtime on the CPU, float32: the emitted model with every node's value as an output, and each node alone."""
    import onnx
    import onnxruntime as ort

    from unet_export import emit_onnx, onnx_ops

    graph, float32 = checkpoint.config.graph, onnx.TensorProto.FLOAT
    model = emit_onnx(checkpoint.config, checkpoint.tensors)
    written = {value for node in model.graph.node for value in node.output}
    names = [node.name for node in graph if node.name in written]
    unknown = [None] * (graph.spatial_dims + 2)
    model.graph.output.extend(onnx.helper.make_tensor_value_info(n, float32, unknown) for n in names)

    def session(proto: onnx.ModelProto) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def evaluate(runs: Any, given: Mapping[str, np.ndarray], wanted: list[str]) -> list[np.ndarray]:
        first = {key: np.ascontiguousarray(np.moveaxis(x, -1, 1), np.float32) for key, x in given.items()}
        return [np.moveaxis(np.asarray(x), 1, -1) for x in runs.run(wanted, first)]

    whole = session(model)

    def activations(image: np.ndarray) -> dict[str, np.ndarray]:
        values = evaluate(whole, {onnx_ops.INPUT: image}, [*names, onnx_ops.OUTPUT])
        latent = [node for node in graph if isinstance(node.op, LatentInput)]
        noise = {n.name: np.zeros((len(image), *[1] * graph.spatial_dims, n.op.channels()), np.float32) for n in latent}
        return noise | dict(zip([*names, graph.output.name], values, strict=True))

    def vanished(node: Node) -> bool:  # dropout does nothing here, and leaves no value
        return node.name not in written and node.name != graph.output.name

    def value(name: str) -> str:
        node = graph[name]
        if isinstance(node.op, LatentInput):
            return f"{name}.map"  # behind the reshaping to a map of one pixel
        if isinstance(node.op, Input):
            return onnx_ops.INPUT
        return value(node.inputs[0]) if vanished(node) else onnx_ops.OUTPUT if node is graph.output else name

    @cache
    def alone(name: str) -> tuple[Any, list[str], str]:
        """The nodes of the model that lead from a layer's inputs to its output, as a model of their own."""
        given, out = [value(i) for i in graph[name].inputs], value(name)
        needed, body = {out}, []
        for node in reversed(model.graph.node):
            if needed & set(node.output):
                body.insert(0, node)
                needed |= set(node.input) - set(given)
        own = [tensor for tensor in model.graph.initializer if tensor.name in needed]
        first = [onnx.helper.make_tensor_value_info(key, float32, unknown) for key in dict.fromkeys(given)]
        last = [onnx.helper.make_tensor_value_info(out, float32, unknown)]
        proto = onnx.helper.make_model(
            onnx.helper.make_graph(body, "layer", first, last, own),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
        )
        return session(proto), given, out

    def compute(node: Node, given: list[np.ndarray]) -> np.ndarray:
        if vanished(node):
            return given[0]
        runs, first, out = alone(node.name)
        return evaluate(runs, dict(zip(first, given, strict=True)), [out])[0]

    return GraphSide(name, graph, activations, compute)
