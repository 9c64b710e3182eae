"""Strip by strip: the whole image with no pixel of any layer computed twice, and a few rows of each layer in memory.

The image enters a few rows at a time. Each node computes the rows that have become possible, reads its inputs' newest
rows and the few older ones that its window still reaches, and what nobody will need again is forgotten. So work is
exactly that of the whole image, and memory grows with the image's other axes, not with this one.

Which rows, follows from the graph; `unet_torch.strips` and `unet_jax.strips` compute them. Rows are positions along the
first spatial axis (depth in 3-D).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from unet_spec.errors import InputError
from unet_spec.geometry import Geometry
from unet_spec.graph import Graph, Node
from unet_spec.memory import FLOAT32
from unet_spec.ops import Crop, Interval, MaxPool, Op, Upsample
from unet_spec.tiling import AxisPlan, TilePlan, plan_tiles

KINDS = (
    "conv",
    "conv_transpose",
    "batch_norm",
    "activation",
    "dropout",
    "max_pool",
    "upsample",
    "crop",
    "pad",
    "concat",
)
"""The operations that can be computed by rows."""


@dataclass(frozen=True)
class Step:
    """What one node does for one strip. Rows are counted from the first that is still kept of each map.

    Attributes:
        name: of the node.
        takes: of each input, the rows (first, past the last) that are read; new rows are there already.
        pads: of each input, rows of zeros to put before and after these: only at the image's true edges.
        drop: rows to drop from the front of what the operation computes from these.
        rows: rows that it adds to its map, after `drop`.
    """

    name: str
    takes: tuple[tuple[int, int], ...]
    pads: tuple[tuple[int, int], ...]
    drop: int
    rows: int


@dataclass(frozen=True)
class Strip:
    """One strip.

    Attributes:
        image: rows of the canvas (first, past the last) that enter.
        steps: of the nodes that can compute something, in order. Equal for all strips in the middle of an image.
        forget: rows that each map loses at its front when the strip is done.
        output: rows (first, past the last) of the logits that come out; empty ones where first = past the last.
        absolute: for interpolations, (rows of the map, rows of its input, length of that input), absolute.
    """

    image: tuple[int, int]
    steps: tuple[Step, ...]
    forget: tuple[tuple[str, int], ...]
    output: tuple[int, int]
    absolute: dict[str, tuple[tuple[int, int], tuple[int, int], int]] = field(compare=False)


def check_strips(graph: Graph) -> None:
    """Raises InputError where a network cannot be computed strip by strip."""
    if not Geometry(graph).bounded:
        raise InputError(
            "this network sees the whole image at once (a norm, a mean or an interpolation over it): no strips"
        )
    other = sorted({n.op.kind for n in graph.inference if n.inputs and n.op.kind not in KINDS})
    if other:
        raise InputError(f"strips cannot compute {', '.join(other)} yet; leave out --strips")


def plan_strips(graph: Graph, height: int, rows: int) -> Iterator[Strip]:
    """The strips of a canvas of `height` rows (on the grid), `rows` at a time; a multiple of the total stride makes all
    strips but the first and last ones alike. Raises InputError as `check_strips`, and where the height does not fit."""
    check_strips(graph)
    Geometry(graph).output_size(height)
    extents = graph.extents(0, height)
    nodes = [n for n in graph.inference if n.inputs]
    users: dict[str, list[tuple[Node, int]]] = {n.name: [] for n in graph.inference}
    for node in nodes:
        for place, name in enumerate(node.inputs):
            users[name].append((node, place))
    done = dict.fromkeys(users, 0)
    kept = dict.fromkeys(users, 0)  # the first row of each map that is still there
    while done[graph.output.name] < extents[graph.output.name]:
        first = done[graph.input.name]
        done[graph.input.name] = min(first + rows, height)
        steps, absolute, out = [], {}, (0, 0)
        for node in nodes:
            low, high = done[node.name], _possible(node, done, extents)
            if node is graph.output:
                out = (low, high)
            if high == low:
                continue
            given = tuple(extents[i] for i in node.inputs)
            needs = node.op.needs(0, (low, high - 1), *given)
            clipped = [(max(a, 0), min(b + 1, n)) for (a, b), n in zip(needs, given, strict=True)]
            pads = [_zeros(node.op, need, n) for need, n in zip(needs, given, strict=True)]
            if isinstance(node.op, Upsample):
                absolute[node.name] = ((low, high), clipped[0], given[0])
            takes = tuple((a - kept[i], b - kept[i]) for (a, b), i in zip(clipped, node.inputs, strict=True))
            stride = node.op.stride[0] if node.op.kind == "conv_transpose" else 1  # type: ignore[attr-defined]
            drop = low - stride * clipped[0][0] if node.op.kind == "conv_transpose" else 0
            steps.append(Step(node.name, takes, tuple(pads), drop, high - low))
            done[node.name] = high
        forget = []
        for name, consumers in users.items():
            keep = done[name]
            for node, place in consumers:
                if (after := done[node.name]) < extents[node.name]:
                    given = tuple(extents[i] for i in node.inputs)
                    keep = min(keep, max(node.op.needs(0, (after, after), *given)[place][0], 0))
            forget.append((name, max(keep, kept[name]) - kept[name]))
            kept[name] = max(keep, kept[name])
        yield Strip((first, done[graph.input.name]), tuple(steps), tuple(forget), out, absolute)


def _possible(node: Node, done: dict[str, int], extents: dict[str, int]) -> int:
    """How many rows of a node can be computed from the rows that its inputs have.

    Rows of zeros above a map wait for the map's first row, so that no step reads zeros alone.
    """
    given = tuple(extents[i] for i in node.inputs)

    def enough(row: int) -> bool:
        needs = node.op.needs(0, (row, row), *given)
        return all(
            max(high, 0) < done[name] or done[name] == n
            for (_, high), name, n in zip(needs, node.inputs, given, strict=True)
        )

    low, high = done[node.name], extents[node.name]
    while low < high:  # the last row that is possible, by halving: needs grow with the row
        middle = (low + high) // 2
        low, high = (middle + 1, high) if enough(middle) else (low, middle)
    return low


def _zeros(op: Op, needs: Interval, extent: int) -> tuple[int, int]:
    """Rows that an operation reads beyond its map, and takes for zeros there. Interpolation clamps instead."""
    if isinstance(op, Upsample | MaxPool | Crop):
        return 0, 0
    return max(-needs[0], 0), max(needs[1] + 1 - extent, 0)


def strip_macs(graph: Graph, strips: list[Strip], size: tuple[int, ...]) -> int:
    """Multiply-adds of all strips, counted row by row; equal to the whole image's."""
    macs, extents = graph.macs(size), graph.extents(0, size[0])
    rows: dict[str, int] = {}
    for strip in strips:
        for step in strip.steps:
            rows[step.name] = rows.get(step.name, 0) + step.rows
    return sum(macs[name] * count // extents[name] for name, count in rows.items())


def strip_memory(graph: Graph, size: tuple[int, ...], rows: int) -> int:
    """Bytes of the maps that are kept at the peak, float32: proportional to all axes of `size` but the first."""
    shapes = graph.shapes(size)
    row = {name: FLOAT32 * _product(shape[1:]) for name, shape in shapes.items()}
    held = dict.fromkeys(row, 0)
    peak = 0
    for strip in plan_strips(graph, size[0], rows):
        held[graph.input.name] += strip.image[1] - strip.image[0]
        for step in strip.steps:
            held[step.name] += step.rows
            peak = max(peak, sum(held[name] * row[name] for name in held))
        for name, count in strip.forget:
            held[name] -= count
    return peak


def _product(values: tuple[int, ...]) -> int:
    result = 1
    for value in values:
        result *= value
    return result


def plan_bands(geometry: Geometry, image: tuple[int, ...], rows: int) -> TilePlan:
    """The result of an image in bands of `rows` rows (the last may be shorter): what strips are written in."""
    whole = plan_tiles(geometry, image)
    first, *others = whole.axes
    edges = (*range(0, image[0], rows), image[0])
    band = AxisPlan(first.image, first.canvas, first.margin, first.canvas, (0,) * (len(edges) - 1), edges)
    return TilePlan((band, *others), True)


def first_row(geometry: Geometry, wanted: int) -> int:
    """Where on the canvas strips may begin, so that their results are exact from output row `wanted` on."""
    if not geometry.shift_invariant:
        return 0
    step = geometry.grid().step
    return max(0, (wanted - geometry.halo()[0]) // step * step)
