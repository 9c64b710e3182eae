"""Computes the parts of objects in a block of the image, and joins those of all blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .basins import Face, Slices, basins_of, pair_numbers
from .heights import class_values, heights
from .merging import Edges, canonical, components, greatest, merged
from .settings import ObjectSettings

if TYPE_CHECKING:
    from jaxtyping import Int32, Int64

Read = Callable[[tuple[int, ...], tuple[int, ...]], np.ndarray]
"""Reads probabilities 0..255, (*window) of class 1 or (*window, K), in the half-open range of two corners."""


@dataclass(frozen=True)
class Parts:
    """The parts of objects in one block. An object that crosses a face has parts in several blocks.

    Attributes:
        peaks, sizes, first: for each part, its maximum height, its number of pixels, and the lowest index in the image
            of its pixels.
        votes: (parts, K), the sum of each class's probabilities; 0 for background and border.
        edges: edges between parts of this block.
        faces: by (axis, side 0 or 1), for sides with a neighbouring block: the part of each pixel at the face (-1 for
            none), and the face.
    """

    peaks: Int64[np.ndarray, " parts"]
    sizes: Int64[np.ndarray, " parts"]
    first: Int64[np.ndarray, " parts"]
    votes: Int64[np.ndarray, "parts k"]
    edges: Edges
    faces: Mapping[tuple[int, int], tuple[Int32[np.ndarray, "*face"], Face]]


@dataclass(frozen=True)
class Blocks:
    """The division of an image into blocks of `side` pixels per axis, fewer at the high edges."""

    image: tuple[int, ...]
    side: tuple[int, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        return tuple(-(-n // s) for n, s in zip(self.image, self.side, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def index(self, number: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(number, self.counts))

    def span(self, number: int) -> Slices:
        index = self.index(number)
        return tuple(slice(i * s, min((i + 1) * s, n)) for i, s, n in zip(index, self.side, self.image, strict=True))

    def after(self, number: int, axis: int) -> int | None:
        """The number of the next block along an axis, or None."""
        index = list(self.index(number))
        index[axis] += 1
        if index[axis] == self.counts[axis]:
            return None
        return int(np.ravel_multi_index(index, self.counts))


def parts_of(
    read: Read, image: tuple[int, ...], span: Slices, settings: ObjectSettings
) -> tuple[Int32[np.ndarray, "*block"], Parts]:
    """The part of each pixel in the block `span` of an image (-1 for none), and the parts."""
    dims = len(image)
    halo, start = settings.halo(dims), tuple(s.start for s in span)
    low = tuple(max(s.start - h, 0) for s, h in zip(span, halo, strict=True))
    high = tuple(min(s.stop + h, n) for s, h, n in zip(span, halo, image, strict=True))
    window = read(low, high)
    rim = [(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(span, image, strict=True)]
    height = heights(window, dims, settings)[tuple(slice(a - o, b - o) for (a, b), o in zip(rim, low, strict=True))]
    core = tuple(slice(s.start - a, s.stop - a) for s, (a, _) in zip(span, rim, strict=True))
    basins = basins_of(height, core, start, image)
    faces = {(a, side): f for a, both in enumerate(basins.faces) for side, f in enumerate(both) if f is not None}

    frozen = np.zeros(len(basins.peaks) + 1, bool)  # the last one is for basin -1, outside of all objects
    for axis, side in faces:
        frozen[np.take(basins.numbers, -side, axis)] = True
    numbers = merged(basins.peaks, basins.edges, ratio_of(settings), frozen[:-1])
    count = int(numbers.max(initial=-1)) + 1
    labels = np.append(numbers, -1)[basins.numbers].astype(np.int32)

    at = np.flatnonzero(labels.ravel() >= 0)
    own = labels.ravel()[at]
    places = [p + s for p, s in zip(np.unravel_index(at, labels.shape), start, strict=True)]
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, own, np.ravel_multi_index(places, image))
    inside = class_values(window, dims, settings)[
        tuple(slice(s.start - a, s.stop - a) for s, a in zip(span, low, strict=True))
    ]
    parts = Parts(
        peaks=greatest(basins.peaks, numbers, count),
        sizes=np.bincount(own, minlength=count),
        first=first,
        votes=_votes(inside.reshape(labels.size, -1)[at], own, count, settings.border),
        edges=canonical(basins.edges.numbered(numbers)),
        faces={key: (np.take(labels, -key[1], key[0]), face) for key, face in faces.items()},
    )
    return labels, parts


def ratio_of(settings: ObjectSettings) -> float:
    """The minimum ratio of a saddle to a peak at which parts are merged; distances are squared."""
    return settings.neck**2 if settings.method == "distance" else settings.neck


def _votes(probabilities: np.ndarray, own: np.ndarray, count: int, border: int | None) -> np.ndarray:
    """Sums of probabilities, (pixels, 1) of class 1 or (pixels, K), by part. Below 2^53 they are exact in float64."""
    classes = max(probabilities.shape[-1], 2)
    votes = np.zeros((count, classes), np.int64)
    for c in range(1, classes):
        if c != border:
            votes[:, c] = np.bincount(own, probabilities[:, min(c, probabilities.shape[-1] - 1)], count)
    return votes


@dataclass(frozen=True)
class Objects:
    """The objects of an image, in order of their first pixels.

    Attributes:
        numbers: object of each part, from 1 (0 if dropped), for the parts of all blocks in order.
        sizes: number of pixels of each object.
        classes: class of each object, the one with the largest total probability over its pixels.
    """

    numbers: Int64[np.ndarray, " parts"]
    sizes: Int64[np.ndarray, " objects"]
    classes: Int64[np.ndarray, " objects"]


def join(blocks: Blocks, parts: Sequence[Parts], settings: ObjectSettings) -> Objects:
    """Joins the parts of all blocks: first along paths that cross a face, then across necks that are not narrow."""
    offsets = np.concatenate([[0], np.cumsum([len(p.peaks) for p in parts])]).astype(np.int64)
    total = int(offsets[-1])
    crossing: list[np.ndarray] = [np.zeros((2, 0), np.int64)]
    edges = [replace(p.edges, a=p.edges.a + o, b=p.edges.b + o) for p, o in zip(parts, offsets, strict=False)]
    for number in range(len(blocks)):
        for axis in range(len(blocks.image)):
            if (after := blocks.after(number, axis)) is None:
                continue
            below, face = parts[number].faces[axis, 1]
            above, facing = parts[after].faces[axis, 0]
            touching = np.stack([below + offsets[number], above + offsets[after]])
            crossing.append(touching[:, face.leaves | facing.leaves])
            at, span = np.nonzero(face.height > 0), blocks.span(number)
            places = [*at[:axis], np.full(len(at[0]), span[axis].stop - 1 - span[axis].start), *at[axis:]]
            pairs = pair_numbers(np.stack(places), tuple(s.start for s in span), blocks.image, axis)
            edges.append(canonical(Edges(touching[0][at], touching[1][at], face.height[at].astype(np.int64), pairs)))
    paths = np.concatenate(crossing, axis=1)
    numbers = components(total, paths[0], paths[1])
    count = int(numbers.max(initial=-1)) + 1
    peaks = greatest(np.concatenate([p.peaks for p in parts]), numbers, count)
    numbers = merged(peaks, Edges.joined(edges).numbered(numbers), ratio_of(settings))[numbers]
    return _numbered(numbers, parts, settings)


def _numbered(numbers: np.ndarray, parts: Sequence[Parts], settings: ObjectSettings) -> Objects:
    """The objects in order of their first pixels, without those that are too small or too large."""
    count = int(numbers.max(initial=-1)) + 1
    sizes, first = np.zeros(count, np.int64), np.full(count, np.iinfo(np.int64).max)
    votes = np.zeros((count, parts[0].votes.shape[1]), np.int64)
    np.add.at(sizes, numbers, np.concatenate([p.sizes for p in parts]))
    np.minimum.at(first, numbers, np.concatenate([p.first for p in parts]))
    np.add.at(votes, numbers, np.concatenate([p.votes for p in parts]))
    large = np.inf if settings.maximum_size is None else settings.maximum_size
    selected = np.flatnonzero((sizes >= settings.minimum_size) & (sizes <= large))
    selected = selected[np.argsort(first[selected])]
    final = np.zeros(count, np.int64)
    final[selected] = np.arange(1, len(selected) + 1)
    return Objects(final[numbers], sizes[selected], votes[selected, 1:].argmax(1) + 1)
