"""A network on one page: its layers and its sizes. And the same as torchinfo prints it, which the article shows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from unet_spec.graph import Graph, Node
from unet_spec.network import NetworkConfig
from unet_spec.ops import Conv, ConvTranspose


@dataclass(frozen=True)
class Row:
    """One layer: its name, operation, output (*spatial, C), trained parameters and multiply-adds for one image."""

    name: str
    kind: str
    detail: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


def own_parameters(node: Node) -> int:
    """Weights of one node, trained or fixed."""
    return sum(math.prod(p.shape) for p in node.op.parameters().values() if p.role != "buffer")


def rows(graph: Graph, size: tuple[int, ...]) -> list[Row]:
    """The layers in the order in which they run, for an image of `size` pixels per axis that fits. Raises SizeError."""
    shapes, macs = graph.shapes(size), graph.macs(size)
    return [Row(n.name, n.op.kind, n.op.hyper(), shapes[n.name], own_parameters(n), macs[n.name]) for n in graph]


@dataclass(frozen=True)
class Block:
    """Nodes of a graph that belong together, by their names.

    Attributes:
        name: the path that they share.
        last: the node whose output leaves the block.
        parameters: of all its nodes.
        inputs: names of the blocks whose outputs it takes.
    """

    name: str
    last: str
    parameters: int
    inputs: tuple[str, ...]


def block_of(name: str) -> str:
    """The block that a node belongs to: its path up to the first index, or its first part; a layer of its own takes its
    norm, activation and dropout in."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        if parts[end].isdigit() and parts[end - 1] not in ("convs", "acts"):
            while end + 1 < len(parts) and parts[end + 1].isdigit():
                end += 1
            return ".".join(parts[: end + 1])
    stem, _, last = parts[0].rpartition("_")
    return stem if stem and last in ("norm", "act", "drop") else parts[0]


def blocks(graph: Graph) -> tuple[Block, ...]:
    """The blocks of a graph in the order in which they begin."""
    members: dict[str, list[Node]] = {}
    for node in graph:
        members.setdefault(block_of(node.name), []).append(node)
    return tuple(
        Block(
            name,
            nodes[-1].name,
            sum(map(own_parameters, nodes)),
            tuple(dict.fromkeys(block_of(i) for node in nodes for i in node.inputs if block_of(i) != name)),
        )
        for name, nodes in members.items()
    )


def facts(config: NetworkConfig, size: tuple[int, ...]) -> dict[str, Any]:
    """Everything that follows from a config and an image size, ready for JSON. Raises InputError if it does not fit."""
    graph, geometry = config.graph, config.geometry
    geometry.check(size)
    layers = rows(graph, size)
    field_, shapes = geometry.field(), graph.shapes(size)
    return {
        "config": config.to_dict(),
        "input": [*size, config.in_channels],
        "output": list(layers[-1].shape),
        "parameters": graph.parameter_count,
        "buffers": sum(math.prod(p.shape) for p in graph.params.values() if p.role == "buffer"),
        "macs": sum(row.macs for row in layers),
        "convolutions": sum(isinstance(n.op, Conv | ConvTranspose) for n in graph),
        "grid": {"minimum": geometry.grid().minimum, "step": geometry.grid().step},
        "margin": geometry.margin(),
        "crops": geometry.crops(),
        "receptive_field": None
        if field_ is None
        else {"widths": field_.widths, "reach": list(field_.reach), "period": field_.period},
        "tiles_exactly": geometry.shift_invariant,
        "layers": [
            {"name": r.name, "kind": r.kind, "detail": r.detail, "output": list(r.shape), "parameters": r.parameters,
             "macs": r.macs}
            for r in layers
        ],
        "blocks": [
            {"name": b.name, "output": list(shapes[b.last]), "parameters": b.parameters, "inputs": list(b.inputs)}
            for b in blocks(graph.inference)
        ],
    }  # fmt: skip


@dataclass
class _Module:
    """A node of torchinfo's tree: a class name, its children, or the layer that it is."""

    name: str
    children: list[_Module] = field(default_factory=list)
    node: Node | None = None

    def leaves(self) -> list[Node]:
        return [self.node] if self.node else [leaf for child in self.children for leaf in child.leaves()]


_TORCH_NAMES = {
    "conv": "Conv{d}d",
    "conv_transpose": "ConvTranspose{d}d",
    "batch_norm": "BatchNorm{d}d",
    "instance_norm": "InstanceNorm{d}d",
    "group_norm": "GroupNorm",
    "max_pool": "MaxPool{d}d",
    "upsample": "Upsample",
    "dropout": "Dropout",
}
_ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU"}


def _leaf(node: Node, dims: int) -> _Module:
    name = _ACTIVATIONS[node.op.hyper()] if node.op.kind == "activation" else _TORCH_NAMES[node.op.kind].format(d=dims)
    return _Module(name, node=node)


def _article_tree(graph: Graph) -> _Module:
    """The layers in the modules of the article's code: DoubleConv, Down, Up and OutConv, each around a Sequential."""
    dims = graph.spatial_dims
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes[1:]:
        if node.op.kind not in ("crop", "pad", "concat"):  # functions there, not modules
            parts = node.name.split(".")
            groups.setdefault(".".join(parts[:2]), []).append(node)
    root = _Module("UNet")
    for name, nodes in groups.items():
        leaves = [_leaf(n, dims) for n in nodes]
        if name == "head":
            root.children.append(_Module("OutConv", leaves))
        elif name == "encoder.0":
            root.children.append(_double_conv(leaves))
        elif name.startswith("encoder"):
            root.children.append(_Module("Down", [_Module("Sequential", [leaves[0], _double_conv(leaves[1:])])]))
        else:
            root.children.append(_Module("Up", [leaves[0], _double_conv(leaves[1:])]))
    return root


def _double_conv(leaves: list[_Module]) -> _Module:
    return _Module("DoubleConv", [_Module("Sequential", leaves)])


@dataclass(frozen=True)
class TorchinfoRow:
    """A line of torchinfo: class, depth-index, output NC(D)HW, parameters where it shows them."""

    layer: str
    index: str
    shape: tuple[int, ...]
    parameters: int | None


def torchinfo(graph: Graph, size: tuple[int, ...], batch: int = 1, depth: int = 3) -> dict[str, Any]:
    """The table and the totals that torchinfo 1.8 prints for the article's modules, from the graph alone.

    Its multiply-adds count a bias and a norm's parameters once a position, and every weight of a transposed convolution
    once an *output* position, which is 2^dims times what is computed; `graph.macs` has the true number. Its
    forward/backward size counts the float32 outputs of layers with parameters twice.

    Returns:
        rows: list of TorchinfoRow; total_parameters; mult_adds; forward_backward_bytes; parameter_bytes.
    """
    shapes = graph.shapes(size)
    counts: dict[int, int] = {}
    table: list[TorchinfoRow] = []

    def visit(module: _Module, level: int) -> None:
        counts[level] = counts.get(level, 0) + 1
        leaves = module.leaves()
        *spatial, channels = shapes[leaves[-1].name]
        shown = module.node is not None or level == depth
        parameters = sum(map(own_parameters, leaves)) if shown else 0
        index = f"{level}-{counts[level]}" if level else "0"
        table.append(TorchinfoRow(module.name, index, (batch, channels, *spatial), parameters or None))
        if level < depth:
            for child in module.children:
                visit(child, level + 1)

    visit(_article_tree(graph), 0)
    mult_adds = output_bytes = 0
    for node in graph:
        own = own_parameters(node)
        positions = math.prod(shapes[node.name][:-1]) if isinstance(node.op, Conv | ConvTranspose) else 1
        mult_adds += own * positions * batch
        output_bytes += 2 * 4 * batch * math.prod(shapes[node.name]) if own else 0
    return {
        "rows": table,
        "total_parameters": graph.parameter_count,
        "mult_adds": mult_adds,
        "forward_backward_bytes": output_bytes,
        "parameter_bytes": 4 * graph.parameter_count,
    }
