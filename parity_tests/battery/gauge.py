"""Gauge parameters: those that the loss does not depend on, because a normalisation takes their effect away again.

A bias straight before batch norm shifts a channel by a constant, and batch norm subtracts the channel's mean. The same
holds at a distance, where every operation in between hands a constant shift on as a constant shift. Attention takes a
shift of its keys away: it adds the same to a query's scores of all keys, and softmax does not see it. In exact
arithmetic the gradient of such a parameter is zero; what a framework computes is rounding noise, which has no relative
error. It is held against the gradient of the layer's weight instead.
"""

from __future__ import annotations

from unet_spec import Graph, Node
from unet_spec.ops import Attention, BatchNorm, Concat, Conv, Crop, GroupNorm, InstanceNorm, MaxPool, Upsample


def gauge_parameters(graph: Graph, training: bool = True) -> dict[str, tuple[str, ...]]:
    """Full name of each gauge parameter to the names of the normalisations that absorb it.

    `training`: whether batch norms use the statistics of the batch; the running ones absorb nothing.
    """
    consumers: dict[str, list[Node]] = {node.name: [] for node in graph}
    for node in graph:
        for source in node.inputs:
            consumers[source].append(node)
    found = {}
    for node in graph:
        if "bias" in node.op.parameters():
            absorbing = _absorbing(node.name, consumers, training)
            if absorbing:
                found[f"{node.name}.bias"] = tuple(sorted(absorbing))
    return found


def _absorbing(name: str, consumers: dict[str, list[Node]], training: bool) -> set[str] | None:
    """The normalisations that take a shift of this node's output away; None where some of it gets past them."""
    absorbed: set[str] = set()
    for node in consumers[name]:
        if _absorbs(node, training) or (isinstance(node.op, Attention) and node.inputs[1] == name):
            absorbed.add(node.name)
        elif _hands_on(node):
            further = _absorbing(node.name, consumers, training)
            if not further:
                return None
            absorbed |= further
        else:
            return None
    return absorbed or None  # nobody took it: it is in the output


def _absorbs(node: Node, training: bool) -> bool:
    op = node.op
    if isinstance(op, GroupNorm):  # a group of several channels keeps their differences
        return op.groups == op.features
    return isinstance(op, InstanceNorm) or (isinstance(op, BatchNorm) and training)


def _hands_on(node: Node) -> bool:
    """Whether a shift by a constant a channel comes out as a shift by a constant a channel.

    Not through zeros added at the border, which are not shifted; not through a transposed convolution, whose taps
    differ; not through an activation or a dropout mask. The rows of an interpolation sum to one.
    """
    op = node.op
    if isinstance(op, Conv):
        return not any(op.padding)
    return isinstance(op, Concat | Crop | MaxPool | Upsample)
