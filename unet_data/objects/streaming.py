"""Labels the objects of an image of any size, block by block.

The labels of each block are stored in a file, so that a killed run can be continued. The data for joining blocks, about
a hundred bytes for each part of an object, are in memory.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import format_bytes, replacing, write_errors_as_input_error

from .basins import Face, Slices
from .merging import Edges
from .parts import Blocks, Objects, Parts, Read, join, parts_of
from .settings import ObjectSettings

if TYPE_CHECKING:
    from jaxtyping import Int64, UInt32

BYTES_PER_PIXEL = 120
"""Memory for a window while its parts are computed, without one byte for each class. Measured: 47 to 64 for images, 84
for volumes, 116 if every second pixel is a peak."""
DEFAULT_BUDGET = 2**29
LARGEST, SMALLEST = 2048, 16
"""Maximum and minimum pixels per axis of a block."""
_SLAB = {2: 256, 3: 32}
"""By number of dimensions: larger blocks, in pixels per axis, are used only if all blocks of one row (2-D) or layer
(3-D) fit into memory together, so that labels are read in file order without reading blocks twice."""
_LABEL_BYTES = 4
DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""Exceptions of NumPy for a file that is missing or damaged."""


def plan_blocks(image: tuple[int, ...], settings: ObjectSettings, classes: int, budget: int) -> Blocks:
    """The largest blocks that can be computed within `budget` bytes.

    Raises:
        InputError: the smallest block needs more.
    """
    halo, each = settings.halo(len(image)), BYTES_PER_PIXEL + classes
    side = max(SMALLEST, min(LARGEST, max(image)))
    while True:
        shape = [min(n, side + 2 * h) for n, h in zip(image, halo, strict=True)]
        needed = each * math.prod(shape)
        slab = (_LABEL_BYTES + 1) * side * math.prod(image[1:])
        if needed <= budget and (slab <= budget or side <= _SLAB[len(image)]):
            return Blocks(image, tuple(min(side, n) for n in image))
        if side == SMALLEST:
            raise InputError(
                f"objects need windows of {' x '.join(map(str, shape))} pixels, {format_bytes(needed)}, but only "
                f"{format_bytes(max(budget, 0))} are allowed; allow more memory, or lower reach ({settings.reach}) or "
                f"fill_holes ({settings.fill_holes}) of the object settings"
            )
        side = max(SMALLEST, side * 3 // 4)


@dataclass
class LabelImage:
    """The labels of an image, as an array that is read by windows.

    Attributes:
        blocks: the division of the image into blocks.
        folder: folder of the blocks' files.
        objects: the joined objects.
        offsets: index of the first part of each block.
        budget: maximum bytes of blocks in the cache.
    """

    blocks: Blocks
    folder: Path
    objects: Objects
    offsets: Int64[np.ndarray, " blocks"]
    budget: int
    _cache: OrderedDict[int, np.ndarray] = field(default_factory=OrderedDict)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.blocks.image

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def spatial_dims(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        return len(self.objects.sizes)

    @property
    def dtype(self) -> np.dtype:
        """uint16 up to 65535 objects, else uint32."""
        return np.dtype(np.uint16 if self.count <= 65535 else np.uint32)

    def block(self, number: int) -> UInt32[np.ndarray, "*block"]:
        """The labels of one block."""
        if number not in self._cache:
            labels = _labels(self.folder, number)
            low, high = self.offsets[number], self.offsets[number + 1]
            lookup = np.append(self.objects.numbers[low:high], 0).astype(np.uint32)
            self._cache[number] = lookup[labels]
            while len(self._cache) > 1 and sum(b.nbytes for b in self._cache.values()) > self.budget:
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]

    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        """Every `step`-th pixel in the half-open range from `start` (a multiple of `step`) to `stop`, per axis."""
        stop = tuple(min(b, n) for b, n in zip(stop, self.shape, strict=True))
        result = np.empty(tuple(-(-(b - a) // step) for a, b in zip(start, stop, strict=True)), self.dtype)
        ranges = [range(a // s, -(-b // s)) for a, b, s in zip(start, stop, self.blocks.side, strict=True)]
        for index in np.ndindex(*map(len, ranges)):
            number = int(np.ravel_multi_index([r[i] for r, i in zip(ranges, index, strict=True)], self.blocks.counts))
            source, target = [], []
            for span, a, b in zip(self.blocks.span(number), start, stop, strict=True):
                low, high = max(a, span.start), min(b, span.stop)
                low += (a - low) % step
                high = max(low, high)
                source.append(slice(low - span.start, high - span.start, step))
                target.append(slice((low - a) // step, (low - a) // step + -(-(high - low) // step)))
            result[tuple(target)] = self.block(number)[tuple(source)]
        return result

    def __getitem__(self, window: Slices) -> np.ndarray:
        ends = [s.indices(n)[:2] for s, n in zip(window, self.shape, strict=True)]
        return self.window(tuple(a for a, _ in ends), tuple(b for _, b in ends))


def label_image(
    read: Read,
    image: tuple[int, ...],
    classes: int,
    settings: ObjectSettings,
    folder: Path,
    budget: int = DEFAULT_BUDGET,
    done: Callable[[int, int], None] = lambda number, count: None,
) -> LabelImage:
    """Labels the objects of an image of any size.

    Args:
        read: reads windows of the probabilities, 0..255.
        image: pixels per axis.
        classes: number of values of a pixel.
        settings: settings of the object separation.
        folder: folder of the blocks' files. Existing files are used; they must be of these probabilities and settings.
        budget: maximum bytes for a block.
        done: called after each block with its number and the number of blocks.

    Raises:
        InputError: the memory or the disk is too small.
    """
    blocks = plan_blocks(image, settings, classes, budget)
    folder = folder / "x".join(map(str, blocks.side))
    with write_errors_as_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number in range(len(blocks)):
        if (own := _load(folder, number)) is None:
            labels, own = parts_of(read, image, blocks.span(number), settings)
            _save(folder, number, labels, own)
        parts.append(own)
        done(number, len(blocks))
    offsets = np.concatenate([[0], np.cumsum([len(p.peaks) for p in parts])]).astype(np.int64)
    rows = 2 * _LABEL_BYTES * blocks.side[0] * math.prod(image[1:])  # all that is read twice in file order
    return LabelImage(blocks, folder, join(blocks, parts, settings), offsets, min(budget, rows))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:07d}.npz"


def _save(folder: Path, number: int, labels: np.ndarray, parts: Parts) -> None:
    arrays: dict[str, Any] = {name: getattr(parts, name) for name in ("peaks", "sizes", "first", "votes")}
    arrays |= {f"edges-{name}": getattr(parts.edges, name) for name in ("a", "b", "saddle", "pair")}
    for (axis, side), (at_face, face) in parts.faces.items():
        arrays |= {f"{axis}-{side}-labels": at_face, f"{axis}-{side}-height": face.height}
        arrays |= {f"{axis}-{side}-leaves": face.leaves}
    path = _path(folder, number)
    note = "; finished blocks are kept: free disk space and run the same command again"
    with write_errors_as_input_error(path, note), replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, labels=labels, **arrays)


def _load(folder: Path, number: int) -> Parts | None:
    """The parts of a block from its file; None if the file is missing or damaged."""
    try:
        with _path(folder, number).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            a = {name: stored[name] for name in stored.files}
        keys = {tuple(map(int, name.split("-")[:2])) for name in a if name.endswith("-labels")}
        faces = {
            (axis, side): (a[f"{axis}-{side}-labels"], Face(a[f"{axis}-{side}-height"], a[f"{axis}-{side}-leaves"]))
            for axis, side in keys
        }
        edges = Edges(*(a[f"edges-{name}"] for name in ("a", "b", "saddle", "pair")))
        return Parts(a["peaks"], a["sizes"], a["first"], a["votes"], edges, faces)
    except DAMAGED:
        return None


def _labels(folder: Path, number: int) -> np.ndarray:
    try:
        with _path(folder, number).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return stored["labels"]
    except DAMAGED:
        raise InputError(f"{_path(folder, number)}: is damaged; delete it and run the same command again") from None
