"""Watershed by steepest ascent: each pixel's path leads to its highest neighbour, up to a peak; a peak has one basin.

A step leads from a pixel to the largest pair (height, index) among it and its face neighbours. Of equal heights, the
one with the lower index in the image counts as larger. So paths have no cycles, and the step of a pixel depends only on
its direct neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .heights import OUT
from .merging import Edges, canonical

if TYPE_CHECKING:
    from jaxtyping import Bool, Int32, Int64

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Face:
    """One face of a block; arrays have its shape.

    Attributes:
        height: the lower of the heights on the two sides; OUT if one of them is outside of all objects.
        leaves: whether the path of the block's pixel crosses the face.
    """

    height: Int32[np.ndarray, "*face"]
    leaves: Bool[np.ndarray, "*face"]


@dataclass(frozen=True)
class Basins:
    """The basins of a block, computed without its neighbours.

    Attributes:
        numbers: number of each pixel's basin, from 0; -1 outside of all objects. If a path leaves the block, its last
            pixel inside replaces the peak.
        peaks: the maximum height in each basin.
        edges: edges between basins of the block.
        faces: for each axis, the low and the high face; None at the edge of the image.
    """

    numbers: Int32[np.ndarray, "*block"]
    peaks: Int64[np.ndarray, " basins"]
    edges: Edges
    faces: tuple[tuple[Face | None, Face | None], ...]


def basins_of(
    height: Int32[np.ndarray, "*window"], core: Slices, start: tuple[int, ...], image: tuple[int, ...]
) -> Basins:
    """The basins of a block.

    Args:
        height: heights of the block and of a rim of one pixel, without the rim at the edge of the image.
        core: position of the block within `height`.
        start: first pixel of the block in the image.
        image: size of the image, for the numbers of pixel pairs.
    """
    own = height[core]
    step = _steps(height, core)
    size = own.size
    flat = np.flatnonzero(own.ravel() != OUT)
    parent = np.full(size, -1, np.int64)
    parent[flat] = flat + _offsets(own.shape)[step.ravel()[flat]]
    faces = _faces(height, core, step)
    index = np.arange(size).reshape(own.shape)
    for axis, sides in enumerate(faces):
        for side, face in zip((0, -1), sides, strict=True):
            if face is not None:
                staying = np.take(index, side, axis)[face.leaves]
                parent[staying] = staying
    up = parent[flat]
    while True:
        higher = parent[up]
        if np.array_equal(higher, up):
            break
        parent[flat] = higher
        up = higher
    roots = np.unique(up)
    numbers = np.full(size, -1, np.int32)
    numbers[flat] = np.searchsorted(roots, up)
    peaks = own.ravel()[roots].astype(np.int64)
    numbers = numbers.reshape(own.shape)
    return Basins(numbers, peaks, _edges(own, numbers, start, image), faces)


def _steps(height: np.ndarray, core: Slices) -> np.ndarray:
    """Direction of each pixel's step, in the order of the neighbours' indices: 0 for no step, 1 + a for a step down
    axis a, 2·dims − a for a step up axis a."""
    own, dims = height[core], height.ndim
    best, step = own.copy(), np.zeros(own.shape, np.int8)
    lower = [(axis, -1) for axis in range(dims)]
    upper = [(axis, 1) for axis in reversed(range(dims))]
    for number, (axis, way) in enumerate([*lower, *upper], start=1):
        target, there = _shifted(height, core, axis, way)
        current = best[target]
        # Of equal heights the lower index wins, against the pixel itself and against neighbours with a higher index.
        better = there >= current if way < 0 else there > current
        if way < 0:
            better &= (there > current) | (step[target] == 0)
        better &= own[target] != OUT
        current[better] = there[better]
        step[target][better] = number
    return step


def _shifted(height: np.ndarray, core: Slices, axis: int, way: int) -> tuple[Slices, np.ndarray]:
    """The pixels of the block that have a neighbour in a direction, and the heights of these neighbours."""
    low, high = core[axis].start + way, core[axis].stop + way
    first, last = max(low, 0), min(high, height.shape[axis])
    target = tuple(
        slice(first - low, last - low) if a == axis else slice(0, s.stop - s.start) for a, s in enumerate(core)
    )
    return target, height[tuple(slice(first, last) if a == axis else s for a, s in enumerate(core))]


def _offsets(shape: tuple[int, ...]) -> np.ndarray:
    """For each direction, the distance to the neighbour in the flat block."""
    strides = [int(np.prod(shape[a + 1 :], dtype=np.int64)) for a in range(len(shape))]
    return np.array([0, *(-s for s in strides), *reversed(strides)], np.int64)


def pair_numbers(low: np.ndarray, start: tuple[int, ...], image: tuple[int, ...], axis: int) -> np.ndarray:
    """Numbers, unique in the image, of pairs of neighbouring pixels: index · dims + axis.

    `low` (dims, n) is the position in the block of the pixel with the lower index, which is used.
    """
    index = np.zeros(low.shape[1], np.int64)
    for a, n in enumerate(image):
        index = index * n + low[a] + start[a]
    return index * len(image) + axis


def _edges(own: np.ndarray, numbers: np.ndarray, start: tuple[int, ...], image: tuple[int, ...]) -> Edges:
    """The edges between the basins of a block."""
    parts = []
    for axis in range(own.ndim):
        below = (slice(None),) * axis + (slice(0, -1),)
        above = (slice(None),) * axis + (slice(1, None),)
        a, b = numbers[below], numbers[above]
        at = np.nonzero((a != b) & (a >= 0) & (b >= 0))
        saddle = np.minimum(own[below][at], own[above][at]).astype(np.int64)
        parts.append(Edges(a[at], b[at], saddle, pair_numbers(np.stack(at), start, image, axis)))
    return canonical(Edges.joined(parts))


def _faces(height: np.ndarray, core: Slices, step: np.ndarray) -> tuple[tuple[Face | None, Face | None], ...]:
    def face(axis: int, way: int) -> Face | None:
        own = core[axis].start if way < 0 else core[axis].stop - 1
        if not 0 <= own + way < height.shape[axis]:
            return None
        inside, beyond = (height[(*core[:axis], at, *core[axis + 1 :])] for at in (own, own + way))
        number = 1 + axis if way < 0 else 2 * len(core) - axis
        # OUT is the smallest number, so the lower height is OUT if either is.
        return Face(np.minimum(inside, beyond), np.take(step, 0 if way < 0 else -1, axis) == number)

    return tuple((face(axis, -1), face(axis, 1)) for axis in range(len(core)))
