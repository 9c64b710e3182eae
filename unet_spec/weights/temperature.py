"""Folds a temperature into a network's last layers, so that its logits are divided by it in every runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..graph import Graph
from .checkpoint import Checkpoint


def with_temperature(checkpoint: Checkpoint, temperature: float) -> Checkpoint:
    """The checkpoint whose logits are divided by a temperature (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    Weight and bias of the last layer are divided by it. If the logits are a sum, a mean, an interpolation or a crop of
    the outputs of several layers, those of each layer are divided. The most probable class of a pixel does not change.

    Args:
        checkpoint: checkpoint of any architecture whose output is linear in the weights of its last layers.
        temperature: above 0; more than 1 makes probabilities less certain.

    Raises:
        InputError: the temperature is not above 0, or the network's logits cannot be scaled by its weights.

    Example:
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> tensors = random_tensors(config.graph, 0)
        >>> colder = with_temperature(Checkpoint(config, tensors), 0.5)
        >>> bool((colder.tensors["head.bias"] == 2 * tensors["head.bias"]).all())
        True
    """
    if not (temperature > 0 and np.isfinite(temperature)):
        raise InputError(f"the temperature is {temperature}; it must be a number above 0")
    tensors = dict(checkpoint.tensors)
    config = checkpoint.config
    for name in scaled_tensors(config.graph, config.architecture, config.logits):
        tensors[name] = (tensors[name].astype(np.float64) / temperature).astype(tensors[name].dtype)
    return replace(checkpoint, tensors=tensors)


def scaled_tensors(graph: Graph, architecture: str = "this network", logits: str | None = None) -> tuple[str, ...]:
    """Names of the tensors that scale the logits: multiplying them by a number multiplies the logits by it.

    Args:
        graph: graph of the network.
        architecture: its name, for the message.
        logits: name of the node of the logits. Default: the output.

    Raises:
        InputError: there are no such tensors, since another layer also uses their output, or an operation between them
            and the logits is not linear.

    Example:
        >>> from unet_spec import preset
        >>> scaled_tensors(preset("paper").graph)
        ('head.weight', 'head.bias')
    """
    found: list[str] = []
    logits = logits or graph.output.name
    seen, waiting = {logits}, [logits]
    while waiting:
        node = graph[waiting.pop()]
        if node.op.scaling:
            found += [f"{node.name}.{key}" for key in node.op.scaling if key in node.op.parameters()]
            continue
        further = {"none": (), "first": node.inputs[:1], "all": node.inputs}[node.op.homogeneous]
        others = {user.name for user in graph for i in user.inputs if i in further} - seen
        if not further or others:
            cause = f"{node.name} is {node.op.kind}" if not further else f"{min(others)} needs the same map"
            raise InputError(f"the logits of {architecture} cannot be scaled by changing its weights: {cause}")
        waiting += [name for name in dict.fromkeys(further) if name not in seen]
        seen.update(further)
    return tuple(found)
