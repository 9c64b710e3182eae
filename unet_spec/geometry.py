"""Sizes and positions: which sizes fit a network, what it crops, and which pixels an output pixel depends on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache

from unet_spec.errors import InputError
from unet_spec.graph import Graph
from unet_spec.ops import Interval, SizeError, Upsample


@dataclass(frozen=True)
class Grid:
    """The sizes that fit along one axis: minimum, minimum + step, minimum + 2 step, ..."""

    minimum: int
    step: int

    def __contains__(self, size: int) -> bool:
        return size >= self.minimum and (size - self.minimum) % self.step == 0

    def below(self, size: int) -> int | None:
        """The largest size that fits and is not above `size`."""
        return None if size < self.minimum else size - (size - self.minimum) % self.step

    def above(self, size: int) -> int:
        """The smallest size that fits and is not below `size`."""
        return max(self.minimum, size + (self.minimum - size) % self.step)

    def nearest(self, size: int) -> tuple[int, ...]:
        """The one or two nearest sizes that fit: (508, 524) for 512 in the paper's network, (512,) if it fits."""
        below, above = self.below(size), self.above(size)
        return (above,) if below in (None, above) else (below, above)  # type: ignore[return-value]


@dataclass(frozen=True)
class Field:
    """The receptive field along one axis.

    Attributes:
        widths: pixels that one output depends on, and how many of `period` neighbouring outputs have that width.
        reach: least and greatest distance in pixels from an output's own position to the edge of its field.
        period: outputs after which the pattern repeats, which is the total stride of the network.
    """

    widths: dict[int, int]
    reach: tuple[int, int]
    period: int


class Geometry:
    """The geometry of a graph. Axes can differ; those of a U-Net are alike, so most methods default to axis 0.

    Attributes:
        graph: the network.
    """

    def __init__(self, graph: Graph):
        self.graph = graph

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """The sizes that fit, per axis."""
        return tuple(_grid(self.graph, axis) for axis in range(self.graph.spatial_dims))

    def grid(self, axis: int = 0) -> Grid:
        return self.grids[axis]

    def margin(self, axis: int = 0) -> int:
        """Pixels per side that the output is smaller than the input: (in − out) / 2, the same for every size."""
        size = self.grid(axis).minimum
        return (size - self.output_size(size, axis)) // 2

    def output_size(self, size: int, axis: int = 0) -> int:
        """Length of the output for an input of `size`. Raises InputError where it does not fit."""
        try:
            return self.graph.extents(axis, size)[self.graph.output.name]
        except SizeError:
            raise InputError(_misfit((size,), (self.grid(axis),))) from None

    def output_shape(self, size: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(self.output_size(n, axis) for axis, n in enumerate(size))

    def check(self, size: tuple[int, ...]) -> None:
        """Raises InputError, naming the nearest sizes that fit, unless `size` (pixels per axis) fits."""
        if any(n not in grid for n, grid in zip(size, self.grids, strict=True)):
            raise InputError(_misfit(size, self.grids))

    @property
    def bounded(self) -> bool:
        """Whether an output depends on a part of the image only (a group or instance norm sees all of it)."""
        return all(node.op.bounded for node in self.graph.inference.nodes)

    @property
    def shift_invariant(self) -> bool:
        """Whether a tile can reproduce the whole image at all: bounded, and no interpolation with aligned corners.

        Not claimed either where sizes fit that are no total strides apart: tiles are laid by steps of sizes.
        """
        if any(self.grid(a).step != _total_stride(self.graph, a) for a in range(self.graph.spatial_dims)):
            return False
        return self.bounded and not any(isinstance(n.op, Upsample) and n.op.align_corners for n in self.graph)

    def field(self, axis: int = 0) -> Field | None:
        """The receptive field away from the image's edges; None where it is the whole image."""
        return _field(self.graph, axis) if self.bounded else None

    def halo(self, axis: int = 0) -> tuple[int, int]:
        """Outputs at the low and high edge of a tile that padding inside of the network makes differ from those of the
        whole image. (0, 0) for a network without padding. Meaningful only where `shift_invariant`."""
        return _halo(self.graph, axis)

    def crops(self) -> list[int]:
        """Pixels per side cut from the skips along axis 0, in order of execution (deepest first)."""
        return [n.op.margin[0] for n in self.graph if n.op.kind == "crop"]  # type: ignore[attr-defined]


def check_image(graph: Graph, shape: tuple[int, ...], channels_last: bool = True) -> None:
    """Raises InputError unless a batch of images of `shape` fits the network: axes, channels and sizes."""
    layout = "N H W C" if graph.spatial_dims == 2 else "N D H W C"
    if not channels_last:
        layout = layout.replace(" C", "").replace("N", "N C")
    if len(shape) != graph.spatial_dims + 2:
        raise InputError(f"an image batch of shape {tuple(shape)} has {len(shape)} axes; expected ({layout})")
    channels = shape[-1] if channels_last else shape[1]
    if channels != graph.channels["input"]:
        raise InputError(
            f"the image has {channels} channels, the network takes {graph.channels['input']}"
            f" (shape {tuple(shape)}, read as {layout})"
        )
    Geometry(graph).check(tuple(shape[1:-1] if channels_last else shape[2:]))


def _misfit(size: tuple[int, ...], grids: tuple[Grid, ...]) -> str:
    nearest = [grid.nearest(n) for n, grid in zip(size, grids, strict=False)]
    options = [" or ".join(map(str, n)) for n in nearest]
    told = f": {options[0]}" if len(set(options)) == 1 else f" per axis: {', '.join(options)}"
    return (
        f"input {'x'.join(map(str, size))} does not fit this network; nearest valid{told}"
        f" (sizes are {grids[0].minimum} + {grids[0].step} k)"
    )


@lru_cache(maxsize=256)
def _total_stride(graph: Graph, axis: int) -> int:
    """The product of all strides on the way down."""
    scale: dict[str, int] = {}
    for node in graph:
        scale[node.name] = max((scale[i] for i in node.inputs), default=1) * node.op.downsampling(axis)
    return max(scale.values())


@lru_cache(maxsize=256)
def _grid(graph: Graph, axis: int) -> Grid:
    """Found by trying: the smallest size that every operation takes, and the steps between the sizes that do.

    The step is the total stride, or a divisor of it where pooling takes what overhangs (FCN: every size fits).
    """
    stride = _total_stride(graph, axis)
    size = 1
    while not _fits(graph, axis, size):
        size += 1
        if size > 1000 * stride + 1000:
            raise InputError(f"no size fits this network along axis {axis}")
    fitting = [k for k in range(1, stride + 1) if k == stride or _fits(graph, axis, size + k)]
    step = fitting[0]
    if stride % step or fitting != list(range(step, stride + 1, step)):
        raise InputError(f"the sizes that fit along axis {axis}, {size} + {fitting}, do not lie in equal steps")
    return Grid(size, step)


def _fits(graph: Graph, axis: int, size: int) -> bool:
    try:
        graph.extents(axis, size)
    except SizeError:
        return False
    return True


def needed(graph: Graph, axis: int, wanted: Interval, extents: dict[str, int]) -> dict[str, Interval]:
    """The interval of every node's output that the outputs `wanted` depend on, for known extents. Not clipped: what
    reaches outside of a node's extent is answered by padding."""
    intervals: dict[str, Interval] = {graph.output.name: wanted}
    for node in reversed(graph.nodes):
        if node.name not in intervals or not node.inputs:
            continue
        given = tuple(extents[i] for i in node.inputs)
        for source, (low, high) in zip(node.inputs, node.op.needs(axis, intervals[node.name], *given), strict=True):
            old = intervals.get(source, (low, high))
            intervals[source] = (min(old[0], low), max(old[1], high))
    return intervals


@lru_cache(maxsize=256)
def _field(graph: Graph, axis: int) -> Field:
    stride = _total_stride(graph, axis)
    margin = Geometry(graph).margin(axis)
    size = _grid(graph, axis).minimum + 64 * stride  # so large that the middle is far from every edge
    extents = graph.extents(axis, size)
    middle = extents[graph.output.name] // 2
    widths: Counter[int] = Counter()
    reaches: list[int] = []
    for output in range(middle, middle + stride):
        low, high = needed(graph, axis, (output, output), extents)[graph.input.name]
        widths[high - low + 1] += 1
        reaches += [output + margin - low, high - (output + margin)]
    return Field(dict(sorted(widths.items())), (min(reaches), max(reaches)), stride)


@lru_cache(maxsize=256)
def _halo(graph: Graph, axis: int) -> tuple[int, int]:
    """An output is the whole image's where nothing that it depends on lies outside of its map."""
    grid = _grid(graph, axis)
    size = grid.minimum + 64 * grid.step
    extents = graph.extents(axis, size)
    count = extents[graph.output.name]

    def exact(output: int, side: int) -> bool:
        intervals = needed(graph, axis, (output, output), extents)
        if side == 0:
            return all(low >= 0 for low, _ in intervals.values())
        return all(high < extents[name] for name, (_, high) in intervals.items())

    low = next(o for o in range(count) if exact(o, 0))
    high = next(o for o in range(count) if exact(count - 1 - o, 1))
    return low, high
