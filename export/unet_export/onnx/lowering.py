"""Lowers the trained graph to the deployed graph: the same function with fewer and simpler operations.

All rewrites are exact in real arithmetic. The lowered network is again a graph of the spec, so that the float64
reference can check it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from unet_spec.graph import Graph, Node
from unet_spec.ops import BatchNorm, Conv, ConvTranspose, Interval, Op, StdConv


@dataclass(frozen=True)
class Lowered:
    """A graph and its tensors, with PyTorch's names and axis orders, in the dtype of the original tensors."""

    graph: Graph
    tensors: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DepthToSpace(Op):
    """Moves channels (c, offset per axis) to pixels: out[c, block · i + offset] = in[(c, offset), i]; CRD mode in
    ONNX."""

    kind: ClassVar[str] = "depth_to_space"
    block: tuple[int, ...]

    def channels(self, *inputs: int) -> int:
        return inputs[0] // math.prod(self.block)

    def output_size(self, axis: int, *sizes: int) -> int:
        return sizes[0] * self.block[axis]

    def input_intervals(self, axis: int, output: Interval, *sizes: int) -> tuple[Interval, ...]:
        return ((output[0] // self.block[axis], (output[1] - 1) // self.block[axis] + 1),)

    def compute(self, params: Mapping[str, np.ndarray], *inputs: np.ndarray, training: bool = False) -> np.ndarray:
        x, dims = inputs[0], len(self.block)
        n, *size, channels = x.shape
        parts = x.reshape(n, *size, self.channels(channels), *self.block)
        order = [0, *(axis for d in range(dims) for axis in (1 + d, dims + 2 + d)), dims + 1]
        out = (n, *(s * b for s, b in zip(size, self.block, strict=True)), self.channels(channels))
        return parts.transpose(order).reshape(out)


def lower(graph: Graph, tensors: Mapping[str, np.ndarray], split_transposed: bool = False) -> Lowered:
    """Replaces weight-standardised convolutions by plain ones, and folds batch norms into the preceding convolutions.
    With `split_transposed`, each non-overlapping transposed convolution becomes a 1x1 convolution and a rearrangement
    (only in 2-D, as in ONNX)."""
    plain = _standardised(graph, tensors)
    folded = fold_batch_norms(plain.graph, plain.tensors)
    return _split_transposed(folded) if split_transposed and graph.spatial_dims == 2 else folded


def _standardised(graph: Graph, tensors: Mapping[str, np.ndarray]) -> Lowered:
    """Replaces weight-standardised convolutions by plain ones. Computed in float64 and rounded once."""
    nodes, result = [], dict(tensors)
    for node in graph:
        op = node.op
        if isinstance(op, StdConv):
            weight = result[f"{node.name}.weight"]
            result[f"{node.name}.weight"] = op.standardised(weight.astype(np.float64)).astype(weight.dtype)
            op = Conv(op.in_channels, op.out_channels, op.kernel, op.stride, op.padding, op.bias)
        nodes.append(Node(node.name, op, node.inputs))
    return Lowered(Graph(tuple(nodes), graph.spatial_dims, graph.auxiliary), result)


def fold_batch_norms(graph: Graph, tensors: Mapping[str, np.ndarray]) -> Lowered:
    """Folds batch norms: with s = weight / sqrt(running_var + eps), the convolution's weight becomes s · w, and its
    bias s · (b − running_mean) + norm bias. Computed in float64 and rounded once. A batch norm stays unless its input
    is a convolution without other users."""
    uses = Counter(i for node in graph for i in node.inputs)
    norms = {
        node.inputs[0]: node
        for node in graph
        if isinstance(node.op, BatchNorm) and isinstance(graph[node.inputs[0]].op, Conv) and uses[node.inputs[0]] == 1
    }
    gone = {norm.name: conv for conv, norm in norms.items()}
    nodes: list[Node] = []
    result: dict[str, np.ndarray] = {}
    for node in graph:
        if node.name in gone:
            continue
        own = node.select(tensors)
        op = node.op
        if node.name in norms:
            assert isinstance(op, Conv)
            own = _folded(own, norms[node.name], tensors)
            op = dataclasses.replace(op, bias=True)
        nodes.append(Node(node.name, op, tuple(gone.get(i, i) for i in node.inputs)))
        result |= {f"{node.name}.{key}": tensor for key, tensor in own.items()}
    return Lowered(Graph(tuple(nodes), graph.spatial_dims), result)


def _folded(conv: dict[str, np.ndarray], norm: Node, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    assert isinstance(norm.op, BatchNorm)
    bias, mean, var = (
        tensors[f"{norm.name}.{key}"].astype(np.float64) for key in ("bias", "running_mean", "running_var")
    )
    weight = tensors.get(f"{norm.name}.weight", np.ones(1))  # a ShiftBatchNorm has none
    scale = weight.astype(np.float64) / np.sqrt(var + norm.op.eps)
    kernel = conv["weight"].astype(np.float64) * scale.reshape(-1, *[1] * (conv["weight"].ndim - 1))
    shift = (conv.get("bias", np.zeros(1)).astype(np.float64) - mean) * scale + bias
    return {"weight": kernel.astype(conv["weight"].dtype), "bias": shift.astype(conv["weight"].dtype)}


def _split_transposed(network: Lowered) -> Lowered:
    nodes: list[Node] = []
    tensors = dict(network.tensors)
    for node in network.graph:
        op = node.op
        if not isinstance(op, ConvTranspose) or op.kernel != op.stride:
            nodes.append(node)
            continue
        name, dims, taps = f"{node.name}.conv", network.graph.spatial_dims, math.prod(op.kernel)
        weight = tensors.pop(f"{node.name}.weight")  # (in, out, *kernel)
        order = (1, *range(2, weight.ndim), 0)
        tensors[f"{name}.weight"] = np.ascontiguousarray(
            weight.transpose(order).reshape(op.out_channels * taps, op.in_channels, *[1] * dims)
        )
        if op.bias:
            tensors[f"{name}.bias"] = np.repeat(tensors.pop(f"{node.name}.bias"), taps)
        ones = (1,) * dims
        conv = Conv(op.in_channels, op.out_channels * taps, ones, ones, (0,) * dims, op.bias)
        nodes += [Node(name, conv, node.inputs), Node(node.name, DepthToSpace(op.kernel), (name,))]
    return Lowered(Graph(tuple(nodes), network.graph.spatial_dims), tensors)


__all__ = ["DepthToSpace", "Lowered", "fold_batch_norms", "lower"]
