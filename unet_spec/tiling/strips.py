"""Computes an image strip by strip, with a few rows of each layer in memory and no pixel of any layer computed twice.

The image enters a few rows at a time. Each node computes the rows that the new rows of its inputs make possible,
together with the few older rows in its window. Rows that no node will read again are freed. So the work is that of the
whole image, and memory grows with the image's other axes, not with this one.

This file derives the rows from the graph; `strip_runtime` computes them. Rows are positions along the first spatial
axis (depth in 3-D), and intervals of rows are half-open.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import InputError
from ..geometry import Geometry
from ..graph import Graph, Node
from ..ops import Interval, Upsample
from .peak_memory import FLOAT32
from .tiles import AxisPlan, TilePlan, plan_tiles


@dataclass(frozen=True)
class Step:
    """What one node does for one strip. Rows of a map are counted from the first one that is still in memory.

    Attributes:
        name: name of the node.
        takes: rows of each input that are read; new rows have been appended already.
        pad: rows of zeros to put before and after those of the first input; not 0 only at the edges of the image.
        drop: leading rows of the operation's output to drop.
        rows: rows that are added to the node's map, after `drop`.
    """

    name: str
    takes: tuple[Interval, ...]
    pad: tuple[int, int]
    drop: int
    rows: int


@dataclass(frozen=True)
class Strip:
    """The rows of the image that enter together, and what can then be computed.

    Attributes:
        image: rows of the canvas that enter.
        steps: steps of the nodes that can compute rows, in order. Equal for all strips in the middle of an image.
        free: rows to free at the front of each map when the strip is done.
        output: rows of the logits that come out; empty where both ends are equal.
        matrices: for each interpolation, its weights along this axis, (rows, rows of the input) float64.
    """

    image: Interval
    steps: tuple[Step, ...]
    free: tuple[tuple[str, int], ...]
    output: Interval
    matrices: dict[str, np.ndarray] = field(compare=False)


def check_strips(graph: Graph) -> None:
    """Raises InputError if a network cannot be computed strip by strip."""
    if not Geometry(graph).bounded:
        raise InputError(
            "each output depends on the whole image in this network (by a norm, a mean or an "
            "interpolation); leave out --strips"
        )
    other = sorted({n.op.kind for n in graph.inference if not n.is_input and not n.op.rowwise})
    if other:
        raise InputError(f"--strips does not support {', '.join(other)}; leave it out")


def plan_strips(graph: Graph, height: int, rows: int) -> Iterator[Strip]:
    """The strips of a canvas, from top to bottom.

    Args:
        graph: graph of the network.
        height: rows of the canvas, on the grid.
        rows: number of rows that enter at a time. If it is a multiple of the total stride, all strips but the first and
            last ones are equal.

    Raises:
        InputError: as `check_strips`, and if the height does not fit.

    Example:
        >>> from unet_spec import preset
        >>> strips = list(plan_strips(preset("paper").graph, 572, 16))
        >>> len(strips), strips[20].image, strips[20].output
        (36, (320, 336), (132, 148))
    """
    check_strips(graph)
    Geometry(graph).output_size(height)
    sizes = graph.sizes(0, height)
    nodes = [n for n in graph.inference if not n.is_input]
    users: dict[str, list[tuple[Node, int]]] = {n.name: [] for n in graph.inference}
    for node in nodes:
        for place, name in enumerate(node.inputs):
            users[name].append((node, place))
    done = dict.fromkeys(users, 0)
    freed = dict.fromkeys(users, 0)  # the first row of each map that has not been freed
    while done[graph.output.name] < sizes[graph.output.name]:
        first = done[graph.input.name]
        done[graph.input.name] = min(first + rows, height)
        steps, matrices, out = [], {}, (0, 0)
        for node in nodes:
            low, high = done[node.name], _possible(node, done, sizes)
            if node is graph.output:
                out = (low, high)
            if high == low:
                continue
            needed = _needed(node, sizes, low, high)
            clipped = [(max(a, 0), min(b, sizes[i])) for (a, b), i in zip(needed, node.inputs, strict=True)]
            (top, bottom), source = needed[0], node.inputs[0]
            pad = (max(-top, 0), max(bottom - sizes[source], 0)) if node.op.zero_padded else (0, 0)
            if isinstance(node.op, Upsample):
                matrices[node.name] = node.op.matrix(sizes[source])[low:high, slice(*clipped[0])]
            takes = tuple((a - freed[i], b - freed[i]) for (a, b), i in zip(clipped, node.inputs, strict=True))
            drop = node.op.leading_outputs(0, low, clipped[0][0])
            steps.append(Step(node.name, takes, pad, drop, high - low))
            done[node.name] = high
        free = []
        for name, consumers in users.items():
            keep = done[name]
            for node, place in consumers:
                if (after := done[node.name]) < sizes[node.name]:
                    keep = min(keep, max(_needed(node, sizes, after, after + 1)[place][0], 0))
            free.append((name, max(keep - freed[name], 0)))
            freed[name] = max(keep, freed[name])
        yield Strip((first, done[graph.input.name]), tuple(steps), tuple(free), out, matrices)


def _needed(node: Node, sizes: dict[str, int], low: int, high: int) -> tuple[Interval, ...]:
    """The rows of each input that the rows of a node depend on."""
    return node.op.input_intervals(0, (low, high), *(sizes[i] for i in node.inputs))


def _possible(node: Node, done: dict[str, int], sizes: dict[str, int]) -> int:
    """How many rows of a node can be computed from the rows that its inputs have.

    Rows of zeros above a map wait for the map's first row, so that no step reads zeros alone.
    """

    def enough(row: int) -> bool:
        needed = zip(_needed(node, sizes, row, row + 1), node.inputs, strict=True)
        return all(max(high, 1) <= done[name] or done[name] == sizes[name] for (_, high), name in needed)

    low, high = done[node.name], sizes[node.name]
    while low < high:  # bisection for the last possible row: later rows need later rows
        middle = (low + high) // 2
        low, high = (middle + 1, high) if enough(middle) else (low, middle)
    return low


def strip_macs(graph: Graph, strips: list[Strip], size: tuple[int, ...]) -> int:
    """Multiply-adds of all strips, counted row by row; equal to those of the whole image of `size` pixels per axis."""
    macs, sizes = graph.macs(size), graph.sizes(0, size[0])
    rows: dict[str, int] = {}
    for strip in strips:
        for step in strip.steps:
            rows[step.name] = rows.get(step.name, 0) + step.rows
    return sum(macs[name] * count // sizes[name] for name, count in rows.items())


def strip_memory(graph: Graph, size: tuple[int, ...], rows: int) -> int:
    """Bytes of the maps in memory at the peak, float32. Proportional to all axes of `size` but the first.

    Args:
        graph: graph of the network.
        size: pixels per axis of the canvas, on the grid.
        rows: number of rows that enter at a time.

    Example:
        >>> from unet_spec import preset
        >>> graph = preset("same", widths=(4, 8)).graph
        >>> strip_memory(graph, (400, 64), 8) == strip_memory(graph, (800, 64), 8)
        True
    """
    shapes = graph.shapes(size)
    row = {name: FLOAT32 * math.prod(shape[1:]) for name, shape in shapes.items()}
    stored = dict.fromkeys(row, 0)
    peak = 0
    for strip in plan_strips(graph, size[0], rows):
        stored[graph.input.name] += strip.image[1] - strip.image[0]
        for step in strip.steps:
            stored[step.name] += step.rows
            peak = max(peak, sum(stored[name] * row[name] for name in stored))
        for name, count in strip.free:
            stored[name] -= count
    return peak


def plan_bands(geometry: Geometry, image: tuple[int, ...], rows: int) -> TilePlan:
    """Divides the result for an image (pixels per axis) into bands of `rows` rows, in which strips are written.
    The last band may be shorter.

    Example:
        >>> from unet_spec import preset
        >>> [band.target[0] for band in plan_bands(preset("paper").geometry, (600, 400), 256)]
        [slice(0, 256, None), slice(256, 512, None), slice(512, 600, None)]
    """
    whole = plan_tiles(geometry, image)
    first, *others = whole.axes
    edges = (*range(0, image[0], rows), image[0])
    band = AxisPlan(first.image, first.canvas, first.margin, first.canvas, (0,) * (len(edges) - 1), edges)
    return TilePlan((band, *others), True)


def first_row(geometry: Geometry, output: int) -> int:
    """The row of the canvas at which strips may begin, so that their results are exact from row `output` on."""
    if not geometry.shift_invariant:
        return 0
    step = geometry.grid().step
    return max(0, (output - geometry.halo()[0]) // step * step)
