"""Converts PyTorch's names and axes to Flax's and back, by `weight_map.toml`: a bijection, exact to the bit."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from ..graph import Graph
from .check import check_shapes, check_tensors


@dataclass(frozen=True)
class Entry:
    """The names and axes of one tensor in both frameworks.

    Attributes:
        pytorch: full name, such as "encoder.0.conv1.weight".
        flax: full path, such as ("encoder", "0", "conv1", "kernel").
        pytorch_axes, flax_axes: one letter per axis, such as "O I 0 1"; digits are spatial axes.
        shape: in PyTorch's order.
        role: "parameter", "fixed" or "buffer".
    """

    pytorch: str
    flax: tuple[str, ...]
    pytorch_axes: str
    flax_axes: str
    shape: tuple[int, ...]
    role: str

    @property
    def flax_shape(self) -> tuple[int, ...]:
        """The shape in Flax's order."""
        return tuple(self.shape[i] for i in permutation(self.pytorch_axes, self.flax_axes)[0])


def permutation(source: str, target: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The transposition from axes `source` to `target`, and the target's axes to reverse after it.

    Args:
        source, target: one letter per axis; "-H" stands for a reversed axis.

    Raises:
        ValueError: the letters are not the same.

    Example:
        >>> permutation("O I H W", "H W I O")
        ((2, 3, 1, 0), ())
    """
    old, new = ([letter.lstrip("-") for letter in axes.split()] for axes in (source, target))
    if sorted(old) != sorted(new) or len(set(old)) != len(old):
        raise ValueError(f"axes {source!r} and {target!r} do not name the same letters once each")
    backwards = {letter.lstrip("-") for letter in source.split() if letter.startswith("-")}
    backwards ^= {letter.lstrip("-") for letter in target.split() if letter.startswith("-")}
    return tuple(old.index(letter) for letter in new), tuple(i for i, letter in enumerate(new) if letter in backwards)


def rearrange(array: np.ndarray, source: str, target: str) -> np.ndarray:
    """A contiguous copy of an array with its axes rearranged from `source` to `target`.

    Example:
        >>> rearrange(np.zeros((64, 1, 3, 3)), "O I H W", "H W I O").shape
        (3, 3, 1, 64)
    """
    order, flips = permutation(source, target)
    return np.array(np.flip(array.transpose(order), flips), order="C", copy=True)


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, dict[str, str]]]:
    """The file weight_map.toml: kind of layer → PyTorch name → {flax, pytorch_axes, flax_axes}."""
    return tomllib.loads(resources.files("unet_spec.weights").joinpath("weight_map.toml").read_text())


def entries(graph: Graph) -> tuple[Entry, ...]:
    """One entry for each tensor of the graph, in the order of the layers.

    Raises:
        ValueError: the map and the operations list different tensors.

    Example:
        >>> from unet_spec import preset
        >>> entries(preset("paper").graph)[0].flax
        ('encoder', '0', 'conv1', 'kernel')
    """
    found: list[Entry] = []
    spatial = " ".join(map(str, range(graph.spatial_dims)))
    for node in graph:
        lines, owned = table().get(node.op.kind, {}), node.op.parameters()
        if not set(owned) <= set(lines) <= set(owned) | node.op.optional_parameters:
            raise ValueError(f"weight_map.toml has {sorted(lines)} for {node.op.kind!r}, the operation {sorted(owned)}")
        for name, param in owned.items():
            line = lines[name]
            pytorch_axes, flax_axes = (line[k].replace("...", spatial) for k in ("pytorch_axes", "flax_axes"))
            path = (*node.name.split("."), line["flax"])
            found.append(Entry(f"{node.name}.{name}", path, pytorch_axes, flax_axes, param.shape, param.role))
    return tuple(found)


FlaxTensors = dict[tuple[str, ...], np.ndarray]


def to_flax(graph: Graph, tensors: Mapping[str, np.ndarray]) -> FlaxTensors:
    """Converts PyTorch tensors to Flax paths and axes. Raises InputError unless they are exactly the graph's."""
    check_tensors(graph, tensors, "PyTorch to Flax")
    return {e.flax: rearrange(tensors[e.pytorch], e.pytorch_axes, e.flax_axes) for e in entries(graph)}


def to_pytorch(graph: Graph, tensors: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, np.ndarray]:
    """Converts Flax tensors to PyTorch names and axes. Raises InputError unless they are exactly the graph's."""
    check_shapes({e.flax: e.flax_shape for e in entries(graph)}, tensors, "Flax to PyTorch")
    return {e.pytorch: rearrange(tensors[e.flax], e.flax_axes, e.pytorch_axes) for e in entries(graph)}
