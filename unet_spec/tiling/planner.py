"""Chooses the tiles for an image of any size: those that fit into memory and need the fewest multiply-adds.

A tile computes more pixels than are used: the margin of a valid network, the halo of a padded one. So larger tiles need
fewer operations in total, and among the sizes that need the same number of tiles, the smallest needs the fewest. The
operations and the memory of a tile are derived from the graph. All useful shapes are evaluated, and the cheapest one
that fits is chosen.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import format_bytes
from ..geometry import Geometry
from ..graph import Graph
from .peak_memory import FLOAT32, MODELS, ActivationMemory, MemoryModel, Sizes
from .tiles import TilePlan, canvas_size, full_halo, minimum_tile, plan_tiles, tile_stride, used_halo

MAX_PIXELS = 2**24
"""Maximum pixels along an axis of an image. For more, lists of tiles would fill the memory."""
_MAX_TILE, _MAX_SHAPES = 2**16, 2**20  # maximum tile of a very large image; maximum number of shapes
WINDOWS, RESULTS = 3, 4
"""Number of copies in memory of a tile's input (being read, waiting, prepared) and of its logits (the runtime's, in
channels-last order, probabilities, being written)."""


@dataclass(frozen=True)
class Plan:
    """The tiles of an image, and their cost.

    Attributes:
        tiles: position of each tile, and the part of its output that is used.
        batch: number of tiles per call of the network.
        work: multiply-adds of all tiles.
        whole: multiply-adds of the image in one piece.
        memory: peak memory in bytes, in addition to that of the process with the network loaded.
        at_risk: share of the pixels within the receptive field of an inner edge; 0 for an exact plan.
    """

    tiles: TilePlan
    batch: int
    work: int
    whole: int
    memory: int
    at_risk: float

    @property
    def redundancy(self) -> float:
        """Ratio of `work` to `whole`; 1 if nothing is computed twice."""
        return self.work / self.whole

    def describe(self) -> str:
        """A description in one line."""
        accuracy = "exact" if self.tiles.exact else f"approximate: up to {self.at_risk:.1%} of the pixels may differ"
        return (
            f"{len(self.tiles)} tile{'s' * (len(self.tiles) > 1)} of {_shape(self.tiles.tile)}"
            f"{f', {self.batch} at a time' if self.batch > 1 else ''}; {accuracy}; {self.work:.3g} multiply-adds, "
            f"{self.redundancy:.2f} times the whole image's; {format_bytes(self.memory)} predicted"
        )


@dataclass(frozen=True)
class Limits:
    """Limits of a plan; None: no limit.

    Attributes:
        budget: bytes for `held` and for one batch of tiles with its windows and results.
        held: bytes that the process uses already.
        tile: maximum size of a tile per axis, as in `plan_tiles`, instead of the cheapest size.
        halo: outputs to drop at inner edges of tiles. None: as many as an exact result needs.
        minimum, maximum: minimum and maximum tile size per axis, such as those of an engine's profile.
        batch: maximum number of tiles per call; the largest number that fits into the budget is used.
    """

    budget: int | None = None
    held: int = 0
    tile: tuple[int, ...] | None = None
    halo: int | None = None
    minimum: tuple[int, ...] | None = None
    maximum: tuple[int, ...] | None = None
    batch: int = 1

    @property
    def free(self) -> float:
        """Bytes available for tiles."""
        return math.inf if self.budget is None else self.budget - self.held


def plan_image(geometry: Geometry, image: tuple[int, ...], runtime: str = "onnx", limits: Limits = Limits()) -> Plan:
    """The plan with the fewest multiply-adds; among equals, the one with the lowest memory.

    Args:
        geometry: geometry of the network.
        image: pixels per axis.
        runtime: runtime of the memory model ("onnx", "mnn", "torch", "jax"; for others, that of "onnx" is used).
        limits: limits of the plan.

    Raises:
        InputError: no tile fits into the budget or the allowed sizes (the message names the minimum that works), or the
            image has more than `MAX_PIXELS` along an axis.

    Example:
        >>> from unet_spec import preset
        >>> plan = plan_image(preset("paper").geometry, (3000, 2000), limits=Limits(budget=2**31))
        >>> plan.tiles.exact, plan.memory < 2**31
        (True, True)
    """
    if max(image) > MAX_PIXELS:
        raise InputError(f"an image of {_shape(image)} pixels; each axis may have at most {MAX_PIXELS:,}")
    shape = limits.tile or _cheapest(geometry, image, runtime, limits)
    tiles = plan_tiles(geometry, image, shape, halo=limits.halo, minimum=limits.minimum)
    memory = tile_memory(geometry.graph, runtime, tiles.tile)
    if memory > limits.free:
        raise InputError(
            f"a tile of {_shape(tiles.tile)} needs {format_bytes(memory)}, but a memory budget of "
            f"{format_bytes(limits.budget or 0)} leaves {format_bytes(max(int(limits.free), 0))} for it; "
            "give a smaller tile or a larger budget"
        )
    fixed = ActivationMemory(geometry.graph, _model(runtime)).fixed
    fitting = limits.batch if limits.budget is None else (limits.budget - limits.held - fixed) // (memory - fixed)
    batch = max(1, min(limits.batch, fitting, len(tiles)))
    return Plan(
        tiles,
        batch,
        len(tiles) * sum(geometry.graph.macs(tiles.tile).values()),
        sum(geometry.graph.macs(tiles.canvas).values()),
        fixed + (memory - fixed) * batch,
        _at_risk(geometry, tiles, limits.halo),
    )


def tile_memory(graph: Graph, runtime: str, tile: tuple[int, ...]) -> int:
    """Peak bytes for computing one tile of a stream: the network's maps, the windows and the results.

    Args:
        graph: graph of the network.
        runtime: as in `plan_image`.
        tile: pixels per axis.

    Example:
        >>> from unet_spec import preset
        >>> graph = preset("paper").graph
        >>> tile_memory(graph, "onnx", (572, 572)) > 3 * tile_memory(graph, "onnx", (284, 284))
        True
    """
    return int(_memory(graph, runtime, [graph.sizes(axis, n) for axis, n in enumerate(tile)]))


def advised_tile(geometry: Geometry, image: tuple[int, ...], runtime: str, limits: Limits) -> str:
    """The end of a message to a user whose memory is too small for a network that needs the whole image at once: the
    tile that fits, for an approximate result. It is shortened along the axis that has the most strides of the network,
    so a network that halves a coarse axis less often gets a flat tile.

    Args:
        geometry, image, runtime, limits: as in `plan_image`.
    """
    axes = range(len(image))
    size = [canvas_size(geometry, a, image[a]) for a in axes]
    while tile_memory(geometry.graph, runtime, tuple(size)) > limits.free:
        shorter = {a: below for a in axes if (below := geometry.grid(a).below(size[a] * 7 // 8))}
        shorter = {a: below for a, below in shorter.items() if below >= minimum_tile(geometry, a)}
        if not shorter:
            return "; with --tile the result is approximate"
        axis = max(shorter, key=lambda a: size[a] / geometry.grid(a).step)
        size[axis] = shorter[axis]
    return f"; --tile {_shape(tuple(size))} fits, and its result is approximate"


def _model(runtime: str) -> MemoryModel:
    return MODELS.get(runtime, MODELS["onnx"])


def _memory(graph: Graph, runtime: str, sizes: Sizes) -> np.ndarray:
    maps = ActivationMemory(graph, _model(runtime)).peak(sizes)

    def values(node: str) -> Any:
        return math.prod((axis[node] for axis in sizes), start=np.float64(graph.channels[node]))

    return np.ceil(maps + FLOAT32 * (WINDOWS * values(graph.input.name) + RESULTS * values(graph.output.name)))


def _cheapest(geometry: Geometry, image: tuple[int, ...], runtime: str, limits: Limits) -> tuple[int, ...]:
    """The shape of the cheapest tile. All shapes are evaluated at once, in arrays with one axis per image axis."""
    graph, dims = geometry.graph, len(image)
    choices = [_thinned(_choices(geometry, axis, n, limits), dims) for axis, n in enumerate(image)]

    def along(axis: int, values: Iterable[int]) -> np.ndarray:
        return np.array(list(values), np.float64).reshape([-1 if a == axis else 1 for a in range(dims)])

    sizes: list[dict[str, np.ndarray]] = []
    for axis, tiles in enumerate(choices):
        each = [graph.sizes(axis, tile) for tile in tiles.values()]
        sizes.append({node.name: along(axis, (s[node.name] for s in each)) for node in graph})
    memory = _memory(graph, runtime, sizes)
    work = _macs(graph, sizes) * math.prod(along(axis, tiles) for axis, tiles in enumerate(choices))
    cost = np.where(memory <= limits.free, work, np.inf)
    best = np.lexsort((memory.ravel(), cost.ravel()))[0]  # if none fits, the one with the lowest memory
    index = np.unravel_index(best, memory.shape)
    shape = tuple(list(tiles.values())[i] for tiles, i in zip(choices, index, strict=True))
    if np.isinf(cost.flat[best]):
        why = (
            ""
            if geometry.shift_invariant
            else f"; it needs the whole image at once{advised_tile(geometry, image, runtime, limits)}"
        )
        already = f", of which the process already uses {format_bytes(limits.held)}" if limits.held else ""
        slack = 2**20 + limits.held // 16  # a process's memory varies a little between runs
        raise InputError(
            f"a memory budget of {format_bytes(limits.budget or 0)} is too small for this network; the minimum is "
            f"{format_bytes(int(memory.flat[best]) + limits.held + slack)}{already}, for tiles of {_shape(shape)}{why}"
        )
    return shape


def _choices(geometry: Geometry, axis: int, image: int, limits: Limits) -> dict[int, int]:
    """The smallest sufficient tile, in pixels, for each number of tiles along an axis."""
    low = limits.minimum[axis] if limits.minimum else 1
    high = limits.maximum[axis] if limits.maximum else sys.maxsize
    canvas, smallest = canvas_size(geometry, axis, image, low), minimum_tile(geometry, axis, limits.halo)
    tiles: dict[int, int] = {1: canvas} if canvas <= high else {}
    if geometry.shift_invariant or limits.halo is not None:  # otherwise only the whole image is exact
        grid, margin, (_, halo) = geometry.grid(axis), geometry.margin(axis), used_halo(geometry, axis, limits.halo)
        limit = high if canvas <= MAX_PIXELS // 16 else min(high, _MAX_TILE)
        largest = min(canvas - grid.step, grid.below(limit) or 0)
        for size in range(largest, max(smallest, grid.above(low)) - 1, -grid.step):
            stride = tile_stride(geometry, size, axis, limits.halo)
            # The last tile reaches the end of the canvas, or its used part reaches the end of the image.
            count = min(-(-(canvas - size) // stride), -(-(image - (size - 2 * margin - halo)) // stride))
            tiles[1 + max(count, 0)] = size
    if not tiles:
        raise InputError(
            f"no tile between {low} and {high} pixels can be used with this network on axis {axis}; "
            f"the minimum is {min(smallest, canvas)}"
        )
    return tiles


def _thinned(choices: dict[int, int], dims: int) -> dict[int, int]:
    """The choices along an axis or, if there are too many for all axes together, an evenly spaced subset."""
    step = math.ceil(len(choices) / _MAX_SHAPES ** (1 / dims))
    items = list(choices.items())
    return dict([*items[::step], items[-1]])


def _macs(graph: Graph, sizes: Sizes) -> Any:
    """Multiply-adds of one tile, for arrays of shapes."""

    def positions(node: str) -> Any:
        return math.prod(axis[node] for axis in sizes)

    return sum(n.op.macs(positions(n.inputs[0]), positions(n.name)) for n in graph.inference if not n.is_input)


def _at_risk(geometry: Geometry, tiles: TilePlan, halo: int | None) -> float:
    """The share of pixels that an inner edge can change."""
    if tiles.exact:
        return 0.0
    if not geometry.shift_invariant:
        return 1.0
    safe = 1.0
    for a, axis in enumerate(tiles.axes):
        lost = sum(full_halo(geometry, a)) - sum(used_halo(geometry, a, halo))
        safe *= max(0.0, 1 - lost * (len(axis.starts) - 1) / axis.image)
    return 1 - safe


def _shape(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
