"""Which tiles an image of any size is computed in: those that fit into memory and cost the fewest multiply-adds.

A tile computes more than it keeps: the margin of a valid network, the halo of a padded one. So larger tiles do less
work, and of all that need the same number of tiles, the smallest does the least. Both follow from the graph, and so
does the memory that a tile takes; every sensible shape is judged, and the cheapest that fits is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.geometry import Geometry
from unet_spec.graph import Graph
from unet_spec.memory import FLOAT32, MODELS, ActivationMemory, Extents, MemoryModel
from unet_spec.tiling import TilePlan, canvas_size, halo, least_tile, plan_tiles, tile_stride, used_halo

WINDOWS, RESULTS = 3, 4
"""Copies of a tile's input that a stream holds (being read, waiting, prepared) and of its logits (the runtime's, made
channels-last, probabilities, being written)."""


@dataclass(frozen=True)
class Plan:
    """What will be computed and what it costs.

    Attributes:
        tiles: where each tile lies and what is kept of it.
        batch: tiles that the network is given at a time.
        work: multiply-adds of all tiles.
        whole: multiply-adds of the image in one piece.
        memory: bytes, at the peak, over what the process holds with the network loaded.
        at_risk: share of the pixels that lie within the receptive field of an inner edge: 0 for an exact plan.
    """

    tiles: TilePlan
    batch: int
    work: int
    whole: int
    memory: int
    at_risk: float

    @property
    def redundancy(self) -> float:
        """Work over that of the whole image: 1 where nothing is computed twice."""
        return self.work / self.whole

    def describe(self) -> str:
        """One line."""
        told = "exact" if self.tiles.exact else f"approximate: {self.at_risk:.1%} of the pixels may differ"
        return (
            f"{len(self.tiles)} tile{'s' * (len(self.tiles) > 1)} of {_shape(self.tiles.tile)}"
            f"{f', {self.batch} at a time' if self.batch > 1 else ''}; {told}; {self.work:.3g} multiply-adds, "
            f"{self.redundancy:.2f} times the whole image's; {mebibytes(self.memory)} predicted"
        )


def plan_image(
    geometry: Geometry,
    image: tuple[int, ...],
    *,
    runtime: str = "onnx",
    budget: int | None = None,
    held: int = 0,
    tile: tuple[int, ...] | None = None,
    least: tuple[int, ...] | None = None,
    most: tuple[int, ...] | None = None,
    most_batch: int = 1,
    halo: int | None = None,
) -> Plan:
    """The plan with the fewest multiply-adds; of equal ones, the one that takes the least memory.

    Args:
        geometry: of the network.
        image: pixels per axis.
        runtime: whose memory model holds ("onnx", "mnn", "torch", "jax"; others are taken for "onnx").
        budget: bytes for one batch of tiles and its windows, and for what the process holds already. None: no limit.
        held: bytes that the process holds already, which tiles cannot have.
        tile: asks for this shape (as `plan_tiles` does) instead of the cheapest.
        least, most: pixels per axis that a tile may have: an engine's profile. None: any on the grid.
        most_batch: tiles that the network takes at a time; as many are given as fit into the budget.
        halo: outputs to drop at inner edges; None: as many as exactness takes.

    Raises InputError where nothing fits into the budget or the sizes allowed, naming the least that works.
    """
    if tile is None:
        shape = _cheapest(geometry, image, runtime, budget, held, least, most, halo)
    else:
        shape = tile
    tiles = plan_tiles(geometry, image, shape, halo=halo, least=least)
    memory = tile_memory(geometry.graph, runtime, tiles.tile)
    if budget is not None and memory + held > budget:
        raise InputError(
            f"a tile of {_shape(tiles.tile)} takes {mebibytes(memory)}, a memory budget of {mebibytes(budget)} has "
            f"{mebibytes(max(budget - held, 0))} for it; give a smaller tile or a larger budget"
        )
    fixed = ActivationMemory(geometry.graph, _model(runtime)).fixed
    fitting = most_batch if budget is None else (budget - held - fixed) // (memory - fixed)
    batch = max(1, min(most_batch, fitting, len(tiles)))
    return Plan(
        tiles,
        batch,
        len(tiles) * sum(geometry.graph.macs(tiles.tile).values()),
        sum(geometry.graph.macs(tiles.canvas).values()),
        fixed + (memory - fixed) * batch,
        _at_risk(geometry, tiles, halo),
    )


def tile_memory(graph: Graph, runtime: str, tile: tuple[int, ...]) -> int:
    """Bytes at the peak of computing one tile of a stream: the network's maps, the windows and the results."""
    extents = [{name: np.float64(n) for name, n in graph.extents(a, n).items()} for a, n in enumerate(tile)]
    return int(_memory(graph, runtime, extents))


def _model(runtime: str) -> MemoryModel:
    return MODELS.get(runtime, MODELS["onnx"])


def _memory(graph: Graph, runtime: str, extents: Extents) -> np.ndarray:
    maps = ActivationMemory(graph, _model(runtime)).peak(extents)

    def values(node: str) -> Any:
        return math.prod((axis[node] for axis in extents), start=np.float64(graph.channels[node]))

    return np.ceil(maps + FLOAT32 * (WINDOWS * values(graph.input.name) + RESULTS * values(graph.output.name)))


def _cheapest(
    geometry: Geometry,
    image: tuple[int, ...],
    runtime: str,
    budget: int | None,
    held: int,
    least: tuple[int, ...] | None,
    most: tuple[int, ...] | None,
    asked: int | None,
) -> tuple[int, ...]:
    """The shape of the tile. All shapes are judged at once: one axis of each array for one axis of the image."""
    graph, dims = geometry.graph, len(image)
    least, most = least or (1,) * dims, most or (np.iinfo(np.int64).max,) * dims
    whole = tuple(canvas_size(geometry, a, n, low) for a, (n, low) in enumerate(zip(image, least, strict=True)))
    choices = [_sizes(geometry, a, image[a], whole[a], least[a], most[a], asked) for a in range(dims)]
    if not geometry.shift_invariant and asked is None:  # only the image in one piece is exact
        choices = [{1: size} if size <= high else {} for size, high in zip(whole, most, strict=True)]
    for axis, sizes in enumerate(choices):
        if not sizes:
            raise InputError(
                f"no tile between {least[axis]} and {most[axis]} pixels can be used with this network on axis {axis}; "
                f"the least that works is {min(least_tile(geometry, axis, asked), whole[axis])}"
            )
    extents = []
    for axis, sizes in enumerate(choices):
        rows = [graph.extents(axis, size) for size in sizes.values()]
        shape = tuple(-1 if a == axis else 1 for a in range(dims))
        extents.append({name: np.array([r[name] for r in rows], np.float64).reshape(shape) for name in rows[0]})
    memory = _memory(graph, runtime, extents)
    work = _macs(graph, extents) * math.prod(
        np.array(list(sizes)).reshape([-1 if a == axis else 1 for a in range(dims)])
        for axis, sizes in enumerate(choices)
    )

    def shape_of(flat: int) -> tuple[int, ...]:
        index = np.unravel_index(flat, memory.shape)
        return tuple(list(sizes.values())[int(i)] for sizes, i in zip(choices, index, strict=True))

    fits = memory <= (np.inf if budget is None else budget - held)
    if not fits.any():
        smallest = int(memory.argmin())
        why = "" if geometry.shift_invariant else "; it needs the whole image in one piece, --tile only approximates it"
        already = f", of which the process has {mebibytes(held)} already" if held else ""
        slack = 2**20 + held // 16  # what a process holds differs a little from start to start
        raise InputError(
            f"a memory budget of {mebibytes(budget or 0)} is too small for this network; the least that works is "
            f"{mebibytes(int(memory.flat[smallest]) + held + slack)}{already}, for tiles of "
            f"{_shape(shape_of(smallest))}{why}"
        )
    order = np.lexsort((memory.ravel(), np.where(fits, work, np.inf).ravel()))
    return shape_of(int(order[0]))


def _sizes(
    geometry: Geometry, axis: int, image: int, canvas: int, least: int, most: int, asked: int | None
) -> dict[int, int]:
    """For each number of tiles along an axis, the smallest tile with which it suffices: {tiles: pixels}."""
    grid, margin, (_, high) = geometry.grid(axis), geometry.margin(axis), used_halo(geometry, axis, asked)
    sizes: dict[int, int] = {1: canvas} if canvas <= most else {}
    first = max(least_tile(geometry, axis, asked), grid.above(least))
    for size in range(min(canvas - grid.step, grid.below(most) or 0), first - 1, -grid.step):
        stride = tile_stride(geometry, size, axis, asked)
        # Tiles follow each other until one touches the end of the canvas, or keeps the last pixel of the image.
        count = min(-(-(canvas - size) // stride), -(-(image - (size - 2 * margin - high)) // stride))
        sizes[1 + max(count, 0)] = size
    return sizes


def _macs(graph: Graph, extents: Extents) -> Any:
    """Multiply-adds of one tile, for many shapes at once."""

    def positions(node: str) -> Any:
        return math.prod(axis[node] for axis in extents)

    return sum(n.op.macs(positions(n.inputs[0]), positions(n.name)) for n in graph.inference if n.inputs)


def _at_risk(geometry: Geometry, tiles: TilePlan, asked: int | None) -> float:
    """The share of pixels that an inner edge reaches."""
    if tiles.exact:
        return 0.0
    if not geometry.shift_invariant:
        return 1.0
    safe = 1.0
    for a, axis in enumerate(tiles.axes):
        lost = sum(halo(geometry, a)) - sum(used_halo(geometry, a, asked))
        safe *= max(0.0, 1 - lost * (len(axis.starts) - 1) / axis.image)
    return 1 - safe


def mebibytes(count: int) -> str:
    """1610612736 as "1.50 GiB", 5242880 as "5 MiB"."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{math.ceil(count / 2**20)} MiB"


def _shape(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
