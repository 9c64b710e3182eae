"""Overlap-tile strategy (figure 2 of the paper): tiles whose stitched result equals the whole-image result.

The image is extended to a canvas by mirroring beyond its edges: on all sides by the margin that a valid network crops,
and at the end up to the next size that fits. The whole-image result is the network applied to the canvas, cropped to
the image. A tile is a window of the canvas. Its result is exact if it starts at a multiple of the network's total
stride, so that every pooling window covers the same pixels, and if outputs within the halo of an inner edge, which
depend on padding inside the network, are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import InputError
from ..geometry import Geometry

_LONGEST = 4
"""How many times as long as the requested size an axis of `balanced_tile` may be."""


@dataclass(frozen=True)
class AxisPlan:
    """One axis of a plan. Positions are in pixels.

    Attributes:
        image: size of the image.
        canvas: size of the mirrored image, on the grid.
        margin: position of the image's first pixel on the canvas.
        tile: size of a tile, on the grid.
        starts: position of each tile's first pixel on the canvas.
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
        start: first pixel of its window per axis, in coordinates of the image; negative positions are mirrored.
        shape: size of its window.
        source: the part of its output that is used.
        target: the position of that part in the image.
    """

    start: tuple[int, ...]
    shape: tuple[int, ...]
    source: tuple[slice, ...]
    target: tuple[slice, ...]


@dataclass(frozen=True)
class TilePlan:
    """All tiles of an image, in row-major order. `exact` states whether they give the whole-image result."""

    axes: tuple[AxisPlan, ...]
    exact: bool

    @property
    def tile(self) -> tuple[int, ...]:
        """Pixels per axis of a tile."""
        return tuple(axis.tile for axis in self.axes)

    @property
    def image(self) -> tuple[int, ...]:
        """Pixels per axis of the image."""
        return tuple(axis.image for axis in self.axes)

    @property
    def canvas(self) -> tuple[int, ...]:
        """Pixels per axis of the mirrored image."""
        return tuple(axis.canvas for axis in self.axes)

    def __len__(self) -> int:
        return math.prod(len(axis.starts) for axis in self.axes)

    def __iter__(self) -> Iterator[Tile]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, number: int) -> Tile:
        """Tile `number`, counted from 0 in row-major order."""
        index = [int(k) for k in np.unravel_index(number, [len(axis.starts) for axis in self.axes])]
        start, source, target = [], [], []
        for axis, k in zip(self.axes, index, strict=True):
            low, high = axis.edges[k], axis.edges[k + 1]
            start.append(axis.starts[k] - axis.margin)
            source.append(slice(low - axis.starts[k], high - axis.starts[k]))
            target.append(slice(low, high))
        return Tile(tuple(start), self.tile, tuple(source), tuple(target))


def per_axis(size: int | tuple[int, ...], dims: int, name: str) -> tuple[int, ...]:
    """A size for each axis, from one number for all axes or one per axis.

    Args:
        size: pixels.
        dims: number of axes.
        name: what the size is of, for the message.

    Raises:
        InputError: there are sizes for another number of axes.

    Example:
        >>> per_axis(64, 3, "--tile"), per_axis((20, 128, 128), 3, "--tile")
        ((64, 64, 64), (20, 128, 128))
    """
    sizes = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(sizes) != dims:
        given = "x".join(map(str, sizes))
        raise InputError(f"{name} is {given}, but there are {dims} axes: give one number, or one per axis")
    return sizes


def plan_tiles(
    geometry: Geometry,
    image: tuple[int, ...],
    tile: int | tuple[int, ...] | None = None,
    *,
    halo: int | None = None,
    minimum: tuple[int, ...] | None = None,
) -> TilePlan:
    """Plans the tiles of an image.

    Tiles are as large as the grid allows up to `tile`, and no larger than the image needs.

    Args:
        geometry: geometry of the network.
        image: pixels per axis.
        tile: maximum size of a tile in pixels, for all axes or per axis. None: the whole image is one tile.
        halo: outputs to drop at inner edges. None: as many as an exact result needs; fewer save operations and make the
            plan inexact.
        minimum: minimum size of a tile in pixels per axis (an engine's smallest size). A smaller image is mirrored
            further.

    Raises:
        InputError: `tile` is too small for any output; the message names the minimum that works.

    Example:
        >>> from unet_spec import preset
        >>> plan = plan_tiles(preset("paper").geometry, (1024, 1024), 572)
        >>> len(plan), plan.tile, plan.exact, plan[4].target
        (9, (572, 572), True, (slice(388, 772, None), slice(388, 772, None)))
    """
    dims = geometry.graph.spatial_dims
    tiles = (tile,) * len(image) if tile is None or isinstance(tile, int) else tile
    if len(tiles) != len(image) or len(image) != dims:
        raise InputError(f"image {image} and tile {tiles} must both have {dims} axes for a {dims}-D network")
    if halo is not None and halo < 0:
        raise InputError(f"halo is {halo}; it must be at least 0")
    lows = minimum or (1,) * dims
    axes = tuple(_plan_axis(geometry, a, image[a], tiles[a], lows[a], halo) for a in range(dims))
    exact = all(
        len(axis.starts) == 1 or (geometry.shift_invariant and used_halo(geometry, a, halo) == geometry.halo(a))
        for a, axis in enumerate(axes)
    )
    return TilePlan(axes, exact)


def canvas_size(geometry: Geometry, axis: int, image: int, minimum: int = 1) -> int:
    """Size of the mirrored image along one axis: on the grid, large enough for the margins, at least `minimum`."""
    return geometry.grid(axis).above(max(image + 2 * geometry.margin(axis), minimum))


def _plan_axis(
    geometry: Geometry, axis: int, image: int, limit: int | None, minimum: int, halo: int | None
) -> AxisPlan:
    if image < 1:
        raise InputError(f"an image axis of {image} pixels has nothing to segment")
    grid, margin = geometry.grid(axis), geometry.margin(axis)
    canvas = canvas_size(geometry, axis, image, minimum)
    if limit is None or limit >= canvas:
        return AxisPlan(image, canvas, margin, canvas, (0,), (0, image))
    smallest = max(minimum_tile(geometry, axis, halo), grid.above(minimum))
    tile = grid.below(limit)
    if tile is None or tile < smallest:
        raise InputError(f"a tile of {limit} is too small for this network; the minimum is {smallest}")
    high = used_halo(geometry, axis, halo)[1]
    stride = tile_stride(geometry, tile, axis, halo)
    starts = [*range(0, canvas - tile, stride), canvas - tile]
    # The part that a tile writes begins where the previous one ends: after the last output before the halo.
    ends = [min(start + tile - 2 * margin - high, image) for start in starts[:-1]]
    used = [(s, e) for s, e in zip(starts, [*ends, image], strict=True)]
    while len(used) > 1 and used[-2][1] >= image:
        used.pop()  # the image ends before the canvas
    edges = (0, *(end for _, end in used[:-1]), image)
    return AxisPlan(image, canvas, margin, tile, tuple(start for start, _ in used), edges)


def full_halo(geometry: Geometry, axis: int = 0) -> tuple[int, int]:
    """Number of outputs at a low and at a high inner edge of a tile that differ from those of the whole image.

    If no tile can be exact (interpolation with aligned corners, norms over the image), it is the reach of the receptive
    field beyond the margin, or 0 if the field is unbounded.
    """
    if geometry.shift_invariant:
        return geometry.halo(axis)
    field = geometry.field(axis)
    reach = max(0, field.reach[1] - geometry.margin(axis)) if field else 0
    return reach, reach


def used_halo(geometry: Geometry, axis: int = 0, limit: int | None = None) -> tuple[int, int]:
    """Outputs to drop at an inner edge: `full_halo`, or at most `limit`."""
    low, high = full_halo(geometry, axis)
    return (low, high) if limit is None else (min(low, limit), min(high, limit))


def tile_stride(geometry: Geometry, tile: int, axis: int = 0, halo: int | None = None) -> int:
    """The distance of neighbouring tiles: the outputs that each adds, rounded down to the total stride.

    Args:
        geometry: geometry of the network.
        tile: size of a tile in pixels.
        axis: axis of the image.
        halo: outputs to drop at inner edges. None: as many as an exact result needs.

    Example:
        >>> from unet_spec import preset
        >>> tile_stride(preset("paper").geometry, 572)  # 388 outputs, but the total stride is 16
        384
    """
    step = geometry.grid(axis).step
    return (tile - 2 * geometry.margin(axis) - sum(used_halo(geometry, axis, halo))) // step * step


def minimum_tile(geometry: Geometry, axis: int = 0, halo: int | None = None) -> int:
    """Size in pixels of the smallest tile that adds outputs to those of other tiles.

    Example:
        >>> from unet_spec import preset
        >>> minimum_tile(preset("paper").geometry)
        204
    """
    grid = geometry.grid(axis)
    return grid.above(2 * geometry.margin(axis) + sum(used_halo(geometry, axis, halo)) + grid.step)


@lru_cache(maxsize=64)
def balanced_tile(geometry: Geometry, size: int) -> tuple[int, ...]:
    """Pixels per axis of the default tile: that of `tile_below` or, if the axes have different strides or halos, a tile
    with no more pixels of which the largest share is used.

    Args:
        geometry: geometry of the network.
        size: as in `tile_below`.

    Example:
        >>> from unet_spec import preset
        >>> flat = {"kernels": ((1, 3, 3), (3, 3, 3)), "strides": ((1, 1, 1), (1, 2, 2))}
        >>> network = preset("nnunet", spatial_dims=3, widths=(8, 16), sides=0, norm="batch", **flat)
        >>> tile_below(network.geometry, 64), balanced_tile(network.geometry, 64)
        ((64, 64, 64), (29, 94, 96))
    """
    tile, dims = tile_below(geometry, size), geometry.graph.spatial_dims
    facts = {(geometry.grid(a), geometry.margin(a), full_halo(geometry, a)) for a in range(dims)}
    if len(facts) == 1 or not geometry.shift_invariant:
        return tile
    choices, used, pixels = [], np.ones(()), np.ones(())
    for axis in range(dims):
        longest = max(_LONGEST * size, tile[axis])
        sizes = range(minimum_tile(geometry, axis), longest + 1, geometry.grid(axis).step)
        choices.append(sizes)
        along = [-1 if a == axis else 1 for a in range(dims)]
        used = used * np.reshape([tile_stride(geometry, n, axis) for n in sizes], along)
        pixels = pixels * np.reshape(sizes, along)
    share = np.where(pixels <= math.prod(tile), used / pixels, 0)
    best = np.unravel_index(int(np.argmax(share)), share.shape)
    return tuple(sizes[i] for sizes, i in zip(choices, best, strict=True))


def tile_below(geometry: Geometry, size: int) -> tuple[int, ...]:
    """Pixels per axis of the largest tile that fits and is at most `size`, or else of the smallest tile that works.

    Example:
        >>> from unet_spec import preset
        >>> tile_below(preset("paper").geometry, 600)
        (588, 588)
    """
    axes = range(geometry.graph.spatial_dims)
    return tuple(max(geometry.grid(a).below(size) or 0, minimum_tile(geometry, a)) for a in axes)
