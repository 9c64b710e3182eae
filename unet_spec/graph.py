"""A network as data: named operations in the order of execution.

All properties of a network that need no framework are computed from its graph: shapes, sizes that fit, parameters,
multiply-adds, and the float64 forward pass that is the reference for the twins. `geometry` has the receptive fields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .errors import InputError
from .grid import Grid, check_size, find_grid
from .ops import Node, Param, SizeError, noise_input
from .ops.base import Value


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order. The first is the input (the image), the last the output (the logits).

    Attributes:
        nodes: the operations. They may include further inputs, such as the noise of a latent variable, and nodes that
            only training needs.
        spatial_dims: 2 or 3.
        auxiliary: names of further outputs, such as the heads of deep supervision.

    Raises:
        ValueError: two nodes have the same name, or a node uses another one that comes later.

    Example:
        >>> from unet_spec import preset
        >>> graph = preset("paper").graph
        >>> graph.parameter_count, graph["head"].op.summary(), graph.shapes((572, 572))["head"]
        (31030658, '1x1', (388, 388, 2))
        >>> f"{sum(graph.macs((572, 572)).values()):,} multiply-adds"
        '150,428,424,448 multiply-adds'
    """

    nodes: tuple[Node, ...]
    spatial_dims: int
    auxiliary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise ValueError(f"two nodes have the name {node.name!r}")
            if missing := [i for i in node.inputs if i not in seen]:
                raise ValueError(f"{node.name!r} uses {missing} before they are computed")
            seen.add(node.name)
        if missing := [name for name in self.auxiliary if name not in seen]:
            raise ValueError(f"the auxiliary outputs {missing} have no nodes")

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Node:
        """The node of the image."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The node of the logits."""
        return self.nodes[-1]

    @cached_property
    def inference(self) -> Graph:
        """The part on which the output depends, which is computed in inference and exported."""
        nodes = self.ancestors(self.output.name)
        return self if nodes == self.nodes and not self.auxiliary else Graph(nodes, self.spatial_dims)

    def ancestors(self, *names: str) -> tuple[Node, ...]:
        """The named nodes and all nodes that they depend on, in order."""
        needed = set(names)
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
        return tuple(node for node in self.nodes if node.name in needed)

    @cached_property
    def channels(self) -> dict[str, int]:
        """Channels of every node's output."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            counts[node.name] = node.op.channels(*(counts[i] for i in node.inputs))
        return counts

    @cached_property
    def params(self) -> dict[str, Param]:
        """Every parameter and buffer by its full name, the key in a checkpoint, in the order of the layers."""
        return {f"{n.name}.{key}": param for n in self.nodes for key, param in n.op.parameters().items()}

    @property
    def parameter_count(self) -> int:
        """Number of weights, trained or fixed; running statistics are not counted."""
        return sum(math.prod(p.shape) for p in self.params.values() if p.role != "buffer")

    @property
    def buffer_count(self) -> int:
        """Number of values of running statistics."""
        return sum(math.prod(p.shape) for p in self.params.values() if p.role == "buffer")

    def sizes(self, axis: int, size: int) -> dict[str, int]:
        """Size of every node's output along one axis, for an image of `size` pixels. Raises SizeError."""
        sizes: dict[str, int] = {}
        for node in self.nodes:
            sizes[node.name] = node.op.output_size(axis, *(sizes[i] for i in node.inputs) if node.inputs else (size,))
        return sizes

    def shapes(self, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Shape (*spatial, C) of every node's output for an image of `size` pixels per axis. Raises SizeError."""
        axes = [self.sizes(axis, n) for axis, n in enumerate(size)]
        return {n.name: (*(sizes[n.name] for sizes in axes), self.channels[n.name]) for n in self.nodes}

    @cached_property
    def total_strides(self) -> tuple[int, ...]:
        """The product of all downsampling strides, per axis."""
        return tuple(self._total_stride(axis) for axis in range(self.spatial_dims))

    def _total_stride(self, axis: int) -> int:
        stride: dict[str, int] = {}
        for node in self.nodes:
            stride[node.name] = max((stride[i] for i in node.inputs), default=1) * node.op.downsampling(axis)
        return max(stride.values())

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The sizes that fit, per axis. Raises InputError if none does."""
        return tuple(_grid(self, axis) for axis in range(self.spatial_dims))

    def macs(self, size: tuple[int, ...]) -> dict[str, int]:
        """Multiply-adds of every node for one image. Only convolutions and matrix products count, not biases, norms or
        interpolations; nodes that only training needs have 0."""
        shapes = self.shapes(size)
        needed = {node.name for node in self.inference.nodes}
        return {
            n.name: n.op.macs(math.prod(shapes[n.inputs[0]][:-1]), math.prod(shapes[n.name][:-1]))
            if n.inputs and n.name in needed
            else 0
            for n in self.nodes
        }

    def check_image(self, shape: tuple[int, ...], channels_last: bool = True) -> None:
        """Raises InputError unless a batch of images fits the network: axes, channels and sizes.

        Args:
            shape: (N, *spatial, C), or (N, C, *spatial) without `channels_last`.
            channels_last: whether the channels are the last axis.

        Example:
            >>> from unet_spec import preset
            >>> preset("paper").graph.check_image((1, 512, 512, 1))
            Traceback (most recent call last):
            unet_spec.errors.InputError: input 512x512 does not fit this network; nearest valid: 508 or 524 ...
        """
        layout = "N H W C" if self.spatial_dims == 2 else "N D H W C"
        if not channels_last:
            layout = layout.replace(" C", "").replace("N", "N C")
        if len(shape) != self.spatial_dims + 2:
            raise InputError(f"an image batch of shape {tuple(shape)} has {len(shape)} axes; expected ({layout})")
        channels = shape[-1] if channels_last else shape[1]
        if channels != self.channels["input"]:
            raise InputError(
                f"the image has {channels} channels, the network takes {self.channels['input']}"
                f" (shape {tuple(shape)}, read as {layout})"
            )
        check_size(tuple(shape[1:-1] if channels_last else shape[2:]), self.grids)

    def forward(
        self,
        tensors: Mapping[str, np.ndarray],
        image: np.ndarray,
        training: bool = False,
        inputs: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """The logits (N, *spatial, classes) for an image (N, *spatial, C), in the arrays' dtype.

        Args:
            tensors: every entry of `params`, in PyTorch's axis order.
            image: any float dtype; float64 makes the result the reference for all runtimes.
            training: whether batch norm uses the batch's statistics, and dropout nodes the masks "<name>.mask".
            inputs: further inputs, by name. The noise of a latent variable is zero by default; with S noise vectors
                for one image, the result has S samples.

        Raises:
            InputError: a shape, size or input is wrong.

        Example:
            >>> from unet_spec import preset, random_tensors
            >>> graph = preset("same", widths=(4, 8)).graph
            >>> graph.forward(random_tensors(graph, 0, np.float64), np.zeros((1, 6, 8, 1))).shape
            (1, 6, 8, 2)
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
        """The outputs (N, *spatial, C) of nodes, by name.

        Args:
            tensors, image, training, inputs: as in `forward`.
            keep: names of the nodes to return; other outputs are freed early. None: all nodes that can be computed from
                the given inputs.

        Raises:
            InputError: as `forward`.
        """
        self.check_image(image.shape)
        feeds = self._feeds(image, inputs or {})
        nodes = self._computable(feeds) if keep is None else self.ancestors(*keep)
        if missing := [n.name for n in nodes if n.is_input and n.name not in feeds]:
            raise InputError(f"{', '.join(keep or ())} cannot be computed without the input {', '.join(missing)}")

        def compute(node: Node, given: list[np.ndarray]) -> np.ndarray:
            mask = {"mask": tensors[name]} if (name := f"{node.name}.mask") in tensors else {}
            return node.op.compute(node.select(tensors) | mask, *given, training=training)

        return evaluate(nodes, feeds, compute, keep)

    def default_inputs(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs for an image (N, *spatial, C): the image itself, and zero noise for a latent variable."""
        if (node := noise_input(self)) is None:
            return {self.input.name: image}
        noise = np.zeros((len(image), *[1] * self.spatial_dims, node.op.channels()), image.dtype)
        return {self.input.name: image, node.name: noise}

    def _feeds(self, image: np.ndarray, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The array for each input node. Raises InputError for an unknown input or a wrong shape."""
        known = {node.name: node.op for node in self.nodes if node.is_input}
        feeds = self.default_inputs(image)
        latent = set(feeds) - {self.input.name}
        for name, array in inputs.items():
            if name not in known:
                raise InputError(f"the network has no input {name!r}; it has {', '.join(known)}")
            like = feeds.get(name, image[..., :1]).shape[:-1]
            if name in latent and len(image) == 1 <= len(array):
                like = (len(array), *like[1:])  # several hypotheses for one image
            if array.shape != (expected := (*like, known[name].channels())):
                raise InputError(f"the input {name!r} has shape {array.shape}; expected {expected}")
            feeds[name] = array
        return feeds

    def _computable(self, feeds: Mapping[str, np.ndarray]) -> tuple[Node, ...]:
        known = set(feeds)
        for node in self.nodes:
            if node.inputs and known.issuperset(node.inputs):
                known.add(node.name)
        return tuple(node for node in self.nodes if node.name in known)


def evaluate(
    nodes: Iterable[Node],
    inputs: Mapping[str, Value],
    compute: Callable[[Node, list[Value]], Value],
    keep: Collection[str] | None,
) -> dict[str, Value]:
    """Computes the values of nodes in order. Returns those of `keep` by name; others are freed after their last use.

    Args:
        nodes: nodes in topological order.
        inputs: values of the input nodes, by name.
        compute: computes a node's value from those of its inputs.
        keep: names of nodes. None: all.
    """
    last_use = {i: node.name for node in nodes for i in node.inputs}
    values: dict[str, Value] = {}
    for node in nodes:
        values[node.name] = inputs[node.name] if node.is_input else compute(node, [values[i] for i in node.inputs])
        for used in set(node.inputs):
            if keep is not None and used not in keep and last_use[used] == node.name:
                del values[used]
    return values


@lru_cache(maxsize=256)
def _grid(graph: Graph, axis: int) -> Grid:
    def fits(size: int) -> bool:
        try:
            graph.sizes(axis, size)
        except SizeError:
            return False
        return True

    return find_grid(fits, graph.total_strides[axis], f"axis {axis}")


__all__ = ["Graph", "Node", "evaluate"]
