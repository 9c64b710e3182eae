"""Properties of a network for the checks, from the operations of its graph instead of its config."""

from __future__ import annotations

import dataclasses

import numpy as np

from unet_spec import Graph, NetworkConfig
from unet_spec.ops import Activation, Attention, BatchNorm, DropBlock, Dropout, LayerNorm, Linear, Op, StdConv


def has(graph: Graph, *kinds: type[Op]) -> bool:
    """Whether some node has an operation of one of these kinds."""
    return any(isinstance(node.op, kinds) for node in graph)


def dropout_nodes(graph: Graph) -> list[str]:
    """The layers that draw random numbers in training."""
    return [node.name for node in graph if isinstance(node.op, Dropout | DropBlock)]


def without_batch_norm(config: NetworkConfig) -> str:
    """The reason why a check of running statistics does not apply, or ""."""
    return "" if has(config.graph, BatchNorm) else "no running statistics"


def without_dropout(config: NetworkConfig) -> NetworkConfig:
    """The same network without dropped values in training."""
    fields = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    return config.replace(**{k: v for k, v in {"dropout": 0.0, "keep": 1.0}.items() if k in fields})


def features_last(graph: Graph) -> set[str]:
    """The nodes inside a transformer, whose PyTorch modules also have features last, (N, *spatial, C)."""
    found: set[str] = set()
    for node in graph:
        inside = isinstance(node.op, Activation | Dropout) and node.inputs[0] in found
        if inside or isinstance(node.op, LayerNorm | Linear | Attention):
            found.add(node.name)
    return found


def with_float32_attributes(graph: Graph) -> Graph:
    """The same graph with every norm's epsilon and every slope rounded to float32, as in ONNX, also in a float64 model.
    (Kernels are standardised before they are written.)"""

    def rounded(op: Op) -> Op:
        fields = {field.name for field in dataclasses.fields(op)} & {"eps", "slope"}
        if isinstance(op, StdConv) or not fields:
            return op
        return dataclasses.replace(op, **{name: float(np.float32(getattr(op, name))) for name in fields})

    nodes = tuple(dataclasses.replace(node, op=rounded(node.op)) for node in graph)
    return Graph(nodes, graph.spatial_dims, graph.auxiliary)
