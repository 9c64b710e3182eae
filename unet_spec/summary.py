"""A summary of a network: its layers, blocks and sizes; and the table that torchinfo prints for it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from .graph import Graph, Node
from .network import NetworkConfig
from .ops import Op


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
    """The layers in the order of execution, for an image of `size` pixels per axis. Raises SizeError."""
    shapes, macs = graph.shapes(size), graph.macs(size)
    return [Row(n.name, n.op.kind, n.op.summary(), shapes[n.name], own_parameters(n), macs[n.name]) for n in graph]


@dataclass(frozen=True)
class Block:
    """A group of nodes of a graph, by their names.

    Attributes:
        name: the common path of the nodes.
        last: the node whose output is that of the block.
        parameters: number of parameters of all nodes.
        inputs: names of the blocks whose outputs are its inputs.
    """

    name: str
    last: str
    parameters: int
    inputs: tuple[str, ...]


def block_of(name: str) -> str:
    """The block of a node: its path up to the first index, or its first part.

    A top-level layer is grouped with its norm, activation and dropout.

    Example:
        >>> block_of("encoder.0.conv1"), block_of("stem_norm"), block_of("head")
        ('encoder.0', 'stem', 'head')
    """
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
    """All facts about a config and an image size, for JSON.

    Args:
        config: the network.
        size: pixels per axis.

    Raises:
        InputError: the size does not fit.

    Example:
        >>> from unet_spec import preset
        >>> values = facts(preset("paper"), (572, 572))
        >>> values["output"], values["parameters"], values["convolutions"]
        ([388, 388, 2], 31030658, 23)
    """
    graph, geometry = config.graph, config.geometry
    geometry.check(size)
    layers = rows(graph, size)
    field, shapes = geometry.field(), graph.shapes(size)
    return {
        "config": config.to_dict(),
        "input": [*size, config.in_channels],
        "output": list(layers[-1].shape),
        "parameters": graph.parameter_count,
        "buffers": graph.buffer_count,
        "macs": sum(row.macs for row in layers),
        "convolutions": sum(n.op.convolution for n in graph),
        "grid": {"minimum": geometry.grid().minimum, "step": geometry.grid().step},
        "margin": geometry.margin(),
        "crops": geometry.crops(),
        "receptive_field": None
        if field is None
        else {"widths": field.widths, "reach": list(field.reach), "period": field.period},
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


def _torch_class(op: Op, dims: int) -> str:
    if op.kind == "activation":
        return {"relu": "ReLU", "leaky_relu": "LeakyReLU", "elu": "ELU", "gelu": "GELU", "silu": "SiLU"}[op.summary()]
    with_dims = op.kind in ("conv", "conv_transpose", "batch_norm", "instance_norm", "max_pool")
    return type(op).__name__ + f"{dims}d" * with_dims


def _article_modules(name: str) -> tuple[str, ...]:
    """The classes of the article's modules that contain a layer, outermost first."""
    if name == "head":
        return ("OutConv",)
    double_conv = () if name.endswith((".pool", ".up")) else ("DoubleConv", "Sequential")
    if name.startswith("encoder.0."):
        return double_conv
    return ("Down", "Sequential", *double_conv) if name.startswith("encoder.") else ("Up", *double_conv)


@dataclass(frozen=True)
class TorchinfoRow:
    """A row of torchinfo: class, depth-index, output NC(D)HW, and parameters if they are shown."""

    layer: str
    index: str
    shape: tuple[int, ...]
    parameters: int | None


def torchinfo(graph: Graph, size: tuple[int, ...], batch: int = 1, depth: int = 3) -> dict[str, Any]:
    """The table and the totals that torchinfo 1.8 prints for the article's modules, from the graph of a U-Net.

    Its multiply-adds count biases and parameters of norms once per position, and every weight of a transposed
    convolution once per *output* position, which is 2^dims times the actual number; `graph.macs` has the actual number.
    Its forward/backward size counts the float32 outputs of layers with parameters twice.

    Returns:
        rows: list of TorchinfoRow; total_parameters; mult_adds; forward_backward_bytes; parameter_bytes.

    Example:
        >>> from unet_spec import preset
        >>> table = torchinfo(preset("article").graph, (572, 572))
        >>> table["rows"][1], table["mult_adds"]
        (TorchinfoRow(layer='DoubleConv', index='1-1', shape=(1, 64, 568, 568), parameters=None), 233389361040)
    """
    shapes = graph.shapes(size)
    modules: dict[tuple[str, ...], list[Node]] = {}  # depth first; the key is the path to a module or layer
    for node in graph.nodes[1:]:
        if node.op.kind not in ("crop", "pad", "concat"):  # functions in the article's code, not modules
            path = (block_of(node.name), *_article_modules(node.name), node.name)
            for level in range(len(path)):
                modules.setdefault(path[: level + 1] if level else (), []).append(node)
    counts: Counter[int] = Counter()
    rows: list[TorchinfoRow] = []
    for path, nodes in modules.items():
        level = max(len(path) - 1, 0)
        if level > depth:
            continue
        counts[level] += 1
        *spatial, channels = shapes[nodes[-1].name]
        layer, shown = path[-1] if path else "UNet", level == depth
        if layer == nodes[0].name:
            layer, shown = _torch_class(nodes[0].op, graph.spatial_dims), True
        parameters = sum(map(own_parameters, nodes)) if shown else 0
        index = f"{level}-{counts[level]}" if level else "0"
        rows.append(TorchinfoRow(layer, index, (batch, channels, *spatial), parameters or None))
    trained = [(own_parameters(n), n.op.convolution, shapes[n.name]) for n in graph if own_parameters(n)]
    return {
        "rows": rows,
        "total_parameters": graph.parameter_count,
        "mult_adds": batch * sum(n * (math.prod(shape[:-1]) if kernel else 1) for n, kernel, shape in trained),
        "forward_backward_bytes": 2 * 4 * batch * sum(math.prod(shape) for _, _, shape in trained),
        "parameter_bytes": 4 * graph.parameter_count,
    }
