"""Overlap-tile (the paper, figure 2): how to cut an image so that the stitched result is the whole-image result.

The image is laid on a canvas: mirrored beyond its edges by the margin that a valid network loses, and on the far side
up to the next size that fits. The whole-image result is the network applied to the canvas, cut to the image. A tile is
a window of the canvas. It reproduces that result exactly if it starts at a multiple of the network's total stride, so
that every pooling window falls on the same pixels, and if outputs within the halo of an inner edge, which padding
inside of the network reaches, are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from unet_spec.errors import InputError
from unet_spec.geometry import Geometry


@dataclass(frozen=True)
class AxisPlan:
    """One axis of a plan. Positions in pixels.

    Attributes:
        image: size of the image.
        canvas: size of the mirrored image, on the grid.
        margin: where the image begins on the canvas.
        tile: size of a tile, on the grid.
        starts: where each tile begins on the canvas.
        edges: tile k writes the image's pixels edges[k] … edges[k + 1] − 1.
    """

    image: int
    canvas: int
    margin: int
    tile: int
    starts: tuple[int, ...]
    edges: tuple[int, ...]


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        start: first pixel of its window per axis, in coordinates of the image; negative ones are mirrored.
        shape: size of its window.
        source: the part of its output that is used.
        target: where that part goes in the image.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    source: tuple[slice, ...]
    target: tuple[slice, ...]


@dataclass(frozen=True)
class TilePlan:
    """All tiles of an image, in reading order. `exact` says whether they reproduce the whole-image result."""

    axes: tuple[AxisPlan, ...]
    exact: bool

    @property
    def tile(self) -> tuple[int, ...]:
        return tuple(axis.tile for axis in self.axes)

    @property
    def image(self) -> tuple[int, ...]:
        return tuple(axis.image for axis in self.axes)

    @property
    def canvas(self) -> tuple[int, ...]:
        return tuple(axis.canvas for axis in self.axes)

    def __len__(self) -> int:
        count = 1
        for axis in self.axes:
            count *= len(axis.starts)
        return count

    def __iter__(self) -> Iterator[Tile]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Tile:
        """Tile `number`, counted in reading order from 0."""
        index = [int(k) for k in np.unravel_index(number, [len(axis.starts) for axis in self.axes])]
        start, source, target = [], [], []
        for axis, k in zip(self.axes, index, strict=True):
            low, high = axis.edges[k], axis.edges[k + 1]
            start.append(axis.starts[k] - axis.margin)
            source.append(slice(low - axis.starts[k], high - axis.starts[k]))
            target.append(slice(low, high))
        return Tile(tuple(start), self.tile, tuple(source), tuple(target))


def plan_tiles(
    geometry: Geometry,
    image: tuple[int, ...],
    tile: int | tuple[int, ...] | None = None,
    *,
    halo: int | None = None,
    least: tuple[int, ...] | None = None,
) -> TilePlan:
    """How to compute an image of `image` pixels per axis in tiles of at most `tile` pixels (None: in one).

    Tiles are as large as the grid allows below `tile`, and no larger than the image needs. `halo`: outputs to drop at
    inner edges; None drops as many as exactness takes, fewer save work and make the plan inexact. `least`: pixels per
    axis that a tile must have (an engine's smallest size); where the image needs less, more of it is mirrored.

    Raises InputError where `tile` is too small for any output, naming the least that works.
    """
    wanted = (tile,) * len(image) if tile is None or isinstance(tile, int) else tile
    if len(wanted) != len(image) or len(image) != geometry.graph.spatial_dims:
        dims = geometry.graph.spatial_dims
        raise InputError(f"image {image} and tile {wanted} must both have {dims} axes for a {dims}-D network")
    if halo is not None and halo < 0:
        raise InputError(f"halo is {halo}; it must be at least 0")
    least = least or (1,) * len(image)
    axes = tuple(
        _plan_axis(geometry, a, n, t, low, halo) for a, (n, t, low) in enumerate(zip(image, wanted, least, strict=True))
    )
    exact = all(
        len(axis.starts) == 1 or (geometry.shift_invariant and used_halo(geometry, a, halo) == geometry.halo(a))
        for a, axis in enumerate(axes)
    )
    return TilePlan(axes, exact)


def canvas_size(geometry: Geometry, axis: int, image: int, least: int = 1) -> int:
    """Pixels of the mirrored image along one axis: on the grid, wide enough for the margins, and `least` or more."""
    return geometry.grid(axis).above(max(image + 2 * geometry.margin(axis), least))


def _plan_axis(
    geometry: Geometry, axis: int, image: int, wanted: int | None, smallest: int, halo: int | None
) -> AxisPlan:
    if image < 1:
        raise InputError(f"an image axis of {image} pixels has nothing to segment")
    grid, margin = geometry.grid(axis), geometry.margin(axis)
    canvas = canvas_size(geometry, axis, image, smallest)
    if wanted is None or wanted >= canvas:
        return AxisPlan(image, canvas, margin, canvas, (0,), (0, image))
    least = max(least_tile(geometry, axis, halo), grid.above(smallest))
    tile = grid.below(wanted)
    if tile is None or tile < least:
        raise InputError(f"a tile of {wanted} is too small for this network; the least that works is {least}")
    high = used_halo(geometry, axis, halo)[1]
    stride = tile_stride(geometry, tile, axis, halo)
    starts = [*range(0, canvas - tile, stride), canvas - tile]
    # Each tile begins to write where the one before it ends; that end is the last output which its halo leaves exact.
    ends = [min(start + tile - 2 * margin - high, image) for start in starts[:-1]]
    kept = [(s, e) for s, e in zip(starts, [*ends, image], strict=True)]
    while len(kept) > 1 and kept[-2][1] >= image:
        kept.pop()  # the image ended before the canvas did
    edges = (0, *(end for _, end in kept[:-1]), image)
    return AxisPlan(image, canvas, margin, tile, tuple(start for start, _ in kept), edges)


def halo(geometry: Geometry, axis: int = 0) -> tuple[int, int]:
    """Outputs to drop at an inner edge. Where no tile can be exact (interpolation with aligned corners, norms over the
    image), the receptive field's reach past the margin stands in for it, or nothing where the field is unbounded."""
    if geometry.shift_invariant:
        return geometry.halo(axis)
    field = geometry.field(axis)
    reach = max(0, field.reach[1] - geometry.margin(axis)) if field else 0
    return reach, reach


def used_halo(geometry: Geometry, axis: int = 0, asked: int | None = None) -> tuple[int, int]:
    """`halo`, or the smaller one that was asked for."""
    low, high = halo(geometry, axis)
    return (low, high) if asked is None else (min(low, asked), min(high, asked))


def tile_stride(geometry: Geometry, tile: int, axis: int = 0, asked: int | None = None) -> int:
    """How far apart tiles of this size may be laid: what each adds, in multiples of the total stride (384 for the
    paper's tile of 572, whose 388 outputs are no multiple of 16). `asked`: a smaller halo than exactness takes."""
    step = geometry.grid(axis).step
    return (tile - 2 * geometry.margin(axis) - sum(used_halo(geometry, axis, asked))) // step * step


def least_tile(geometry: Geometry, axis: int = 0, asked: int | None = None) -> int:
    """The smallest tile that adds anything beside other tiles."""
    grid = geometry.grid(axis)
    return grid.above(2 * geometry.margin(axis) + sum(used_halo(geometry, axis, asked)) + grid.step)


def tile_near(geometry: Geometry, wanted: int) -> tuple[int, ...]:
    """Per axis, the largest tile that fits and is not above `wanted`, or the least that works."""
    axes = range(geometry.graph.spatial_dims)
    return tuple(max(geometry.grid(a).below(wanted) or 0, least_tile(geometry, a)) for a in axes)
