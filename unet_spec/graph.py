"""A network as data: named operations in the order in which they run.

Everything about a network that needs no framework is a walk over its graph: shapes, parameters, multiply-adds, and the
float64 forward pass that the twins are held against. What concerns sizes and positions is in `geometry`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from unet_spec.errors import InputError
from unet_spec.ops import Input, LatentInput, Op, Param, SizeError


@dataclass(frozen=True)
class Node:
    """One operation under the name of the layer that performs it: the module's path in both twins.

    Attributes:
        name: dotted path; parameters are called `name.weight`, `name.bias`, ...
        op: the operation with its attributes.
        inputs: the names of the nodes whose outputs it takes.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order. The first is the input (the image), the last the output (the logits).

    Attributes:
        nodes: the operations. There may be more inputs, such as a latent variable's noise, and nodes that the output
            does not depend on, which serve training only.
        spatial_dims: 2 or 3.
        sides: names of further outputs, such as the heads of deep supervision.

    Raises ValueError where a name is taken twice or an input does not come before its use.
    """

    nodes: tuple[Node, ...]
    spatial_dims: int
    sides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise ValueError(f"two nodes are called {node.name!r}")
            if missing := [i for i in node.inputs if i not in seen]:
                raise ValueError(f"{node.name!r} uses {missing} before they are computed")
            seen.add(node.name)
        if missing := [name for name in self.sides if name not in seen]:
            raise ValueError(f"there are no side outputs {missing}")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Node:
        return self.nodes[0]

    @property
    def output(self) -> Node:
        return self.nodes[-1]

    @cached_property
    def inference(self) -> Graph:
        """The part that the output depends on: what is computed, and exported, when nothing is trained."""
        nodes = self.ancestors(self.output.name)
        return self if nodes == self.nodes and not self.sides else Graph(nodes, self.spatial_dims)

    def ancestors(self, *names: str) -> tuple[Node, ...]:
        """The named nodes and all that they depend on, in order."""
        wanted = set(names)
        for node in reversed(self.nodes):
            if node.name in wanted:
                wanted.update(node.inputs)
        return tuple(node for node in self.nodes if node.name in wanted)

    @cached_property
    def channels(self) -> dict[str, int]:
        """Channels of every node's output."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            counts[node.name] = node.op.channels(*(counts[i] for i in node.inputs))
        return counts

    @cached_property
    def params(self) -> dict[str, Param]:
        """Every parameter and buffer under its full name, in the order of the layers: the keys of a checkpoint."""
        return {f"{n.name}.{key}": param for n in self.nodes for key, param in n.op.parameters().items()}

    @property
    def parameter_count(self) -> int:
        """Weights, trained or fixed; running statistics are not counted."""
        return sum(math.prod(p.shape) for p in self.params.values() if p.role != "buffer")

    def extents(self, axis: int, size: int) -> dict[str, int]:
        """Length of every node's output along one axis, for an input of `size`. Raises SizeError."""
        sizes: dict[str, int] = {}
        for node in self.nodes:
            given = (size,) if isinstance(node.op, Input) else tuple(sizes[i] for i in node.inputs)
            sizes[node.name] = node.op.extent(axis, *given)
        return sizes

    def shapes(self, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shape (*spatial, C) of every node's output for an image of `size` pixels per axis. Raises SizeError."""
        axes = [self.extents(axis, n) for axis, n in enumerate(size)]
        return {n.name: (*(extents[n.name] for extents in axes), self.channels[n.name]) for n in self.nodes}

    def macs(self, size: tuple[int, ...]) -> dict[str, int]:
        """Multiply-adds of every node for one image: convolutions and matrix products; no bias, norm, interpolation.
        A node that inference does not need has none."""
        shapes = self.shapes(size)
        needed = {node.name for node in self.inference.nodes}
        return {
            n.name: n.op.macs(math.prod(shapes[n.inputs[0]][:-1]), math.prod(shapes[n.name][:-1]))
            if n.inputs and n.name in needed
            else 0
            for n in self.nodes
        }

    def forward(
        self,
        tensors: Mapping[str, np.ndarray],
        image: np.ndarray,
        training: bool = False,
        inputs: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The logits (N, *spatial, classes) for an image (N, *spatial, C), in the arrays' own dtype.

        `tensors` holds every entry of `params`, in PyTorch's axis order; with `training`, batch norm uses the batch's
        statistics and a dropout node takes its mask from "<name>.mask". `inputs` are the further inputs, by name;
        a latent variable's noise that is not given is zero, and with S of them for one image, S logits come out. Raises
        InputError on a wrong shape or size.
        """
        return self.activations(tensors, image, training, (self.output.name,), inputs)[self.output.name]

    def activations(
        self,
        tensors: Mapping[str, np.ndarray],
        image: np.ndarray,
        training: bool = False,
        keep: tuple[str, ...] | None = None,
        inputs: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs (N, *spatial, C) of the nodes named in `keep`, by name; others are freed early.

        None keeps all that can be computed from the inputs that are given.
        """
        from unet_spec.geometry import check_image  # it needs Graph

        check_image(self, image.shape)
        fed = self._fed(image, inputs or {})
        nodes = self._computable(fed) if keep is None else self.ancestors(*keep)
        if missing := [n.name for n in nodes if isinstance(n.op, Input) and n.name not in fed]:
            raise InputError(f"{', '.join(keep or ())} cannot be computed without the input {', '.join(missing)}")
        last_use = {i: node.name for node in nodes for i in node.inputs}
        values: dict[str, np.ndarray] = {}
        for node in nodes:
            given = (fed[node.name],) if isinstance(node.op, Input) else tuple(values[i] for i in node.inputs)
            own = [*node.op.parameters(), *(["mask"] if f"{node.name}.mask" in tensors else [])]
            local = {key: tensors[f"{node.name}.{key}"] for key in own}
            values[node.name] = node.op.compute(local, *given, training=training)
            for used in node.inputs:
                if keep is not None and used not in keep and last_use[used] == node.name:
                    values.pop(used, None)
        return values

    def _fed(self, image: np.ndarray, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What enters at each input. Raises InputError on an input that there is not, or of another number of
        channels."""
        known = {node.name: node.op for node in self.nodes if isinstance(node.op, Input)}
        fed = {self.input.name: image}
        for name, op in known.items():
            if isinstance(op, LatentInput):
                fed[name] = np.zeros((len(image), *[1] * self.spatial_dims, op.features), image.dtype)
        for name, array in inputs.items():
            if name not in known:
                raise InputError(f"the network has no input {name!r}; it has {', '.join(known)}")
            like = fed.get(name, image[..., :1]).shape[:-1]
            if isinstance(known[name], LatentInput) and len(image) == 1 <= len(array):
                like = (len(array), *like[1:])  # as many hypotheses of the one image
            if array.shape != (wanted := (*like, known[name].channels())):
                raise InputError(f"the input {name!r} has shape {array.shape}; expected {wanted}")
            fed[name] = array
        return fed

    def _computable(self, fed: Mapping[str, np.ndarray]) -> tuple[Node, ...]:
        known = set(fed)
        for node in self.nodes:
            if node.inputs and known.issuperset(node.inputs):
                known.add(node.name)
        return tuple(node for node in self.nodes if node.name in known)


def check_tensors(graph: Graph, tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Raises InputError unless `tensors` are exactly the graph's: none missing, none extra, none misshapen."""
    wanted = {name: param.shape for name, param in graph.params.items()}
    shapes = {name: tuple(t.shape) for name, t in tensors.items()}
    problems = [
        ("missing", [n for n in wanted if n not in shapes]),
        ("not part of this network", [n for n in shapes if n not in wanted]),
        (
            "of another shape",
            [f"{n} {shapes[n]}, not {wanted[n]}" for n in wanted if n in shapes and shapes[n] != wanted[n]],
        ),
    ]
    told = [f"{len(names)} {what}: {_some(names)}" for what, names in problems if names]
    if told:
        raise InputError(f"{where}: the tensors are not those of the config; {'; '.join(told)}")


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


__all__ = ["Graph", "Node", "SizeError", "check_tensors"]
