"""The spec's graph as one side of a comparison, computed by NumPy in float64."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unet_spec import Checkpoint, Graph, Node

from .trace import OUTPUT, Call, Feed, Place, Side, Trace


class GraphSide(Side):
    """A side in which every node is a call inside the network's call. Nodes without counterpart count as the network's
    own code. Only nodes that the logits depend on are used. Subclasses define the computation."""

    flat = True

    def __init__(self, name: str, graph: Graph):
        self.name, self.graph = name, graph.inference

    @abstractmethod
    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The values of the nodes by name, including further inputs."""

    @abstractmethod
    def compute(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        """The value of one node."""

    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        (image,) = inputs
        values = {self.graph.input.name: image} | self.activations(image)
        self.fed = {node.name: values[node.name] for node in self.graph if node.is_input}
        eps = float(np.finfo(values[self.graph.output.name].dtype).eps)
        nodes = [node for node in self.graph if node.name in values and not node.is_input]
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
        """The node that computes this node's value: nodes without a value in the model, such as dropout, are the
        identity."""
        return name if name in values else self._source(self.graph[name].inputs[0], values)

    def run(self, key: str, feed: Feed) -> dict[Place, np.ndarray]:
        if key:
            return {(OUTPUT, ""): self.compute(self.graph[key], list(feed.inputs))}
        leaving: dict[Place, np.ndarray] = {}
        values = self.fed | {self.graph.input.name: feed.inputs[0]}
        for node in self.graph:
            if node.is_input:
                continue
            inputs = [values[name] for name in node.inputs]
            if node.name in feed.answers:
                leaving |= {(node.name, i): array for i, array in enumerate(inputs)}
                values[node.name] = feed.answers[node.name][""]
            else:
                values[node.name] = self.compute(node, inputs)
        return leaving | {(OUTPUT, ""): values[self.graph.output.name]}


class ReferenceSide(GraphSide):
    """The graph in NumPy, always in float64, with the stored tensors."""

    def __init__(self, checkpoint: Checkpoint, training: bool, name: str):
        super().__init__(name, checkpoint.config.graph)
        self.full, self.training = checkpoint.config.graph, training
        self.tensors = {key: t.astype(np.float64) for key, t in checkpoint.tensors.items()}

    def activations(self, image: np.ndarray) -> dict[str, np.ndarray]:
        return self.full.activations(self.tensors, image.astype(np.float64), self.training)

    def compute(self, node: Node, inputs: list[np.ndarray]) -> np.ndarray:
        doubles = (x.astype(np.float64) for x in inputs)
        return node.op.compute(node.select(self.tensors), *doubles, training=self.training)
