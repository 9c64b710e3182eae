"""Geometry of a network: how much it crops, and on which pixels of the image an output depends."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from .graph import Graph
from .grid import Grid, check_size
from .ops import Crop, Interval


@dataclass(frozen=True)
class Field:
    """The receptive field along one axis.

    Attributes:
        widths: maps the width in pixels to the number of outputs, among `period` neighbours, that have this width.
        reach: minimum and maximum distance in pixels from an output's own position to the last pixel of its field.
        period: outputs after which the pattern repeats, which is the total stride of the network.

    Example:
        >>> from unet_spec import preset
        >>> preset("paper").geometry.field()
        Field(widths={188: 4, 204: 12}, reach=(92, 107), period=16)
    """

    widths: dict[int, int]
    reach: tuple[int, int]
    period: int


class Geometry:
    """The geometry of a graph. Axes can differ; those of a U-Net are equal, so most methods default to axis 0.

    Attributes:
        graph: the network.

    Example:
        >>> from unet_spec import preset
        >>> geometry = preset("paper").geometry
        >>> geometry.output_shape((572, 572)), geometry.margin(), geometry.crops(), geometry.halo()
        ((388, 388), 92, [4, 16, 40, 88], (0, 0))
    """

    def __init__(self, graph: Graph):
        self.graph = graph

    @property
    def grids(self) -> tuple[Grid, ...]:
        """The sizes that fit, per axis."""
        return self.graph.grids

    def grid(self, axis: int = 0) -> Grid:
        """The sizes that fit along one axis."""
        return self.grids[axis]

    def margin(self, axis: int = 0) -> int:
        """Pixels per side by which the output is smaller than the input: (in − out) / 2, the same for every size."""
        size = self.grid(axis).minimum
        return (size - self.output_size(size, axis)) // 2

    def output_size(self, size: int, axis: int = 0) -> int:
        """Size of the output for an input of `size`. Raises InputError if it does not fit."""
        check_size((size,), (self.grid(axis),))
        return self.graph.sizes(axis, size)[self.graph.output.name]

    def output_shape(self, size: tuple[int, ...]) -> tuple[int, ...]:
        """Pixels per axis of the output, for an input of `size`. Raises InputError if it does not fit."""
        return tuple(self.output_size(n, axis) for axis, n in enumerate(size))

    def check(self, size: tuple[int, ...]) -> None:
        """Raises InputError with the nearest sizes that fit, unless `size` (pixels per axis) fits."""
        check_size(size, self.grids)

    @cached_property
    def bounded(self) -> bool:
        """Whether an output depends on only a part of the image (after a group or instance norm, on all of it)."""
        return all(node.op.bounded for node in self.graph.inference.nodes)

    @cached_property
    def shift_invariant(self) -> bool:
        """Whether a tile can reproduce the whole image: every operation is shift-invariant.

        Also False if the step between sizes that fit is less than the total stride: tiles are placed by that step.
        """
        if tuple(grid.step for grid in self.grids) != self.graph.total_strides:
            return False
        return all(node.op.shift_invariant for node in self.graph.inference.nodes)

    def field(self, axis: int = 0) -> Field | None:
        """The receptive field away from the image's edges; None if it is the whole image."""
        return _field(self.graph, axis) if self.bounded else None

    def halo(self, axis: int = 0) -> tuple[int, int]:
        """Number of outputs at the low and high edge of a tile that differ from the whole image's because of padding.
        (0, 0) for a network without padding. Meaningful only if `shift_invariant`."""
        return _halo(self.graph, axis)

    def crops(self) -> list[int]:
        """Pixels per side cut from the skips along axis 0, in order of execution (deepest first)."""
        return [n.op.margin[0] for n in self.graph if isinstance(n.op, Crop)]


def input_intervals(graph: Graph, axis: int, output: Interval, sizes: dict[str, int]) -> dict[str, Interval]:
    """For every node, the interval of its output that an interval of the network's output depends on.

    Args:
        graph: graph of the network.
        axis: axis of the image.
        output: the interval of the network's output.
        sizes: sizes of every node's output along the axis, from `graph.sizes`.

    Returns:
        Intervals by node name, not clipped: they may reach into the padding.

    Example:
        >>> from unet_spec import preset
        >>> graph = preset("paper").graph
        >>> input_intervals(graph, 0, (0, 1), graph.sizes(0, 572))["input"]
        (0, 188)
    """
    intervals: dict[str, Interval] = {graph.output.name: output}
    for node in reversed(graph.nodes):
        if node.name not in intervals or not node.inputs:
            continue
        own = node.op.input_intervals(axis, intervals[node.name], *(sizes[i] for i in node.inputs))
        for source, (low, high) in zip(node.inputs, own, strict=True):
            old = intervals.get(source, (low, high))
            intervals[source] = (min(old[0], low), max(old[1], high))
    return intervals


@lru_cache(maxsize=256)
def _field(graph: Graph, axis: int) -> Field:
    stride, margin = graph.total_strides[axis], Geometry(graph).margin(axis)
    sizes = graph.sizes(axis, graph.grids[axis].minimum + 64 * stride)  # so large that the middle is far from the edges
    middle = sizes[graph.output.name] // 2
    widths: Counter[int] = Counter()
    reaches: list[int] = []
    for output in range(middle, middle + stride):
        low, high = input_intervals(graph, axis, (output, output + 1), sizes)[graph.input.name]
        widths[high - low] += 1
        reaches += [output + margin - low, high - 1 - (output + margin)]
    return Field(dict(sorted(widths.items())), (min(reaches), max(reaches)), stride)


@lru_cache(maxsize=256)
def _halo(graph: Graph, axis: int) -> tuple[int, int]:
    """An output of a tile is exact if nothing that it depends on lies outside of a map."""
    grid = graph.grids[axis]
    sizes = graph.sizes(axis, grid.minimum + 64 * grid.step)
    count = sizes[graph.output.name]

    def exact(output: int, side: int) -> bool:
        intervals = input_intervals(graph, axis, (output, output + 1), sizes)
        if side == 0:
            return all(low >= 0 for low, _ in intervals.values())
        return all(high <= sizes[name] for name, (_, high) in intervals.items())

    low = next(o for o in range(count) if exact(o, 0))
    high = next(o for o in range(count) if exact(count - 1 - o, 1))
    return low, high
