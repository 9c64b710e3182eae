"""Gauge parameters: parameters without effect on the loss, because a normalisation removes their effect.

A bias directly before batch norm shifts a channel by a constant, and batch norm subtracts the channel's mean. The same
holds if all operations in between map a constant shift to a constant shift. Attention removes a shift of its keys: the
shift adds the same value to a query's scores of all keys, which softmax ignores. In exact arithmetic the gradient of
such a parameter is zero. A framework computes rounding noise, for which a relative error has no meaning, so it is
compared with the gradient of the layer's weight.
"""

from __future__ import annotations

from unet_spec import Graph, Node
from unet_spec.ops import Attention, BatchNorm, Concat, Conv, Crop, GroupNorm, InstanceNorm, MaxPool, Upsample


def gauge_parameters(graph: Graph, training: bool = True) -> dict[str, tuple[str, ...]]:
    """Full name of each gauge parameter to the names of the normalisations that absorb it.

    `training`: whether batch norms use the statistics of the batch; with running statistics they absorb nothing.
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
    """The normalisations that remove a shift of this node's output; None if part of it has an effect."""
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
    return absorbed or None  # not removed: it is part of the output


def _absorbs(node: Node, training: bool) -> bool:
    op = node.op
    if isinstance(op, GroupNorm):  # a group of several channels keeps differences between them
        return op.groups == op.features
    return isinstance(op, InstanceNorm) or (isinstance(op, BatchNorm) and training)


def _hands_on(node: Node) -> bool:
    """Whether a constant shift per channel stays a constant shift per channel.

    This is false for zero padding, whose zeros are not shifted, for a transposed convolution, whose taps differ, for an
    activation, and for a dropout mask. It holds for an interpolation, whose rows sum to one.
    """
    op = node.op
    if isinstance(op, Conv):
        return not any(op.padding)
    return isinstance(op, Concat | Crop | MaxPool | Upsample)
