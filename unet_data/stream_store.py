"""Finished tiles on disk: what makes a prediction resumable, and lets several processes share it.

Beside the result lies a folder RESULT.part: run.json says what is computed, and each finished tile is a file
<image>-<tile>.npy, which appears whole or not at all. So a run that was killed goes on where it was; processes on
several machines each write tiles of their own, and nothing has to be locked. When all tiles are there, `Mosaic` reads
them as one array, from which the result is written; the folder is removed after that.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.checkpoint import replacing
from unet_spec.errors import InputError
from unet_spec.planner import mebibytes
from unet_spec.tiling import TilePlan

RUN = "run.json"


@contextmanager
def telling_of_the_disk(where: Path, kept: str = "") -> Iterator[None]:
    """Turns a full disk and other failures to write into one line. `kept`: what becomes of the work done."""
    try:
        yield
    except OSError as e:
        full = e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        what = "the disk is full (or the file larger than it allows)" if full else str(e.strerror or e)
        raise InputError(f"{where}: cannot be written: {what}{kept}") from None


def begin(folder: Path, asked: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    """Begins a run in a folder, or joins the one that has begun there. Returns how that one is planned.

    asked: all that the result depends on, which must be the same. planned: how this process would go about it; of
    several that start at the same time, the first one's holds for all. Both are JSON.

    Raises InputError where the folder holds another run, naming what differs, and where it cannot be written.
    """
    record = json.loads(json.dumps({"asked": asked, "planned": planned}))
    path = folder / RUN
    with telling_of_the_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            temporary = folder / f".{RUN}.{uuid.uuid4().hex[:12]}"
            try:
                temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                _link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
        there, how = found["asked"], found["planned"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{folder}: {RUN} is damaged; delete the folder to begin anew") from None
    if there != record["asked"]:
        keys = [k for k in {**record["asked"], **there} if record["asked"].get(k) != there.get(k)]
        raise InputError(
            f"{folder} holds tiles of another run, with another {', '.join(keys)}; "
            "give the same settings to go on, or delete the folder to begin anew"
        )
    return how


def check_room(folder: Path, result: int) -> None:
    """Raises InputError where the disk has no room for a result of so many bytes and, beside it, for its tiles in
    `folder`, which need not exist yet."""
    there = sum(path.stat().st_size for path in folder.glob("*.npy"))
    if (free := shutil.disk_usage(folder.parent).free) < (needed := 2 * result - there):
        raise InputError(
            f"{folder.parent}: the tiles and the result take up to {mebibytes(needed)}, the disk has "
            f"{mebibytes(free)} left"
        )


def _link(temporary: Path, path: Path) -> None:
    """Gives a finished file its name, unless there is one of that name."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        os.replace(temporary, path)


@dataclass(frozen=True)
class TileStore:
    """The folder of one result.

    Attributes:
        folder: RESULT.part.
        plan: of every image.
        images: how many there are.
        value_shape, dtype: of a pixel of the result: () or (K,).
    """

    folder: Path
    plan: TilePlan
    images: int
    value_shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        """Tiles of all images. They are counted through: number = image · tiles of an image + tile."""
        return self.images * len(self.plan)

    def path(self, number: int) -> Path:
        image, tile = divmod(number, len(self.plan))
        return self.folder / f"{image:05d}-{tile:07d}.npy"

    def done(self) -> set[int]:
        """The numbers of the tiles that are finished."""
        with os.scandir(self.folder) as entries:
            found = [re.fullmatch(r"(\d+)-(\d+)\.npy", entry.name) for entry in entries]
        return {int(name[1]) * len(self.plan) + int(name[2]) for name in found if name}

    def put(self, number: int, pixels: np.ndarray) -> None:
        """Keeps a finished tile: on the disk, not only in its cache, when this returns. Raises InputError."""
        kept = f"; the tiles finished so far are kept in {self.folder}: make room and run the same command again"
        path = self.path(number)
        with telling_of_the_disk(path, kept), replacing(path) as temporary, temporary.open("wb") as file:
            pixels = np.ascontiguousarray(pixels, self.dtype)
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(pixels))
            file.write(pixels.tobytes())  # np.save goes around `file`, and a disk that fills up goes unnoticed
            file.flush()
            os.fsync(file.fileno())

    def load(self, number: int) -> np.ndarray:
        """A finished tile, mapped. Raises InputError where its file is missing or damaged."""
        shape = tuple(s.stop - s.start for s in self.plan[number % len(self.plan)].target) + self.value_shape
        try:
            pixels = np.load(self.path(number), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            pixels = None
        if pixels is None or pixels.shape != shape or pixels.dtype != self.dtype:
            raise InputError(f"{self.path(number)}: is damaged; delete it and run the same command again")
        return pixels

    def bytes_needed(self) -> int:
        """Of all tiles together, which is also what the result takes uncompressed."""
        return self.images * int(np.prod((*self.plan.image, *self.value_shape), dtype=np.int64)) * self.dtype.itemsize

    def mosaic(self, image: int) -> Mosaic:
        return Mosaic(self, image)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Mosaic:
    """All tiles of one image as an array (*spatial) or (*spatial, K) that is read by windows."""

    store: TileStore
    image: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.store.plan.image, *self.store.value_shape)

    @property
    def dtype(self) -> np.dtype:
        return self.store.dtype

    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        """Every `step`-th pixel from `start` (a multiple of `step`) to before `stop`, per spatial axis."""
        plan, first = self.store.plan, self.image * len(self.store.plan)
        stop = tuple(min(b, n) for b, n in zip(stop, plan.image, strict=True))
        lengths = tuple(-(-(b - a) // step) for a, b in zip(start, stop, strict=True))
        result = np.empty((*lengths, *self.store.value_shape), self.dtype)
        ranges = []
        for axis, a, b in zip(plan.axes, start, stop, strict=True):
            edges = np.array(axis.edges)
            ranges.append(range(int(np.searchsorted(edges, a, "right")) - 1, int(np.searchsorted(edges, b, "left"))))
        for index in np.ndindex(*map(len, ranges)):
            tile = [r[i] for r, i in zip(ranges, index, strict=True)]
            number = int(np.ravel_multi_index(tile, [len(axis.starts) for axis in plan.axes]))
            source, target = [], []
            for axis, k, a, b in zip(plan.axes, tile, start, stop, strict=True):
                low, high = max(a, axis.edges[k]), min(b, axis.edges[k + 1])
                low += (a - low) % step
                high = max(low, high)
                source.append(slice(low - axis.edges[k], high - axis.edges[k], step))
                target.append(slice((low - a) // step, (low - a) // step + -(-(high - low) // step)))
            result[tuple(target)] = self.store.load(first + number)[tuple(source)]
        return result

    def bands(self, rows: int) -> Iterator[np.ndarray]:
        """The image from top to bottom, `rows` of its first axis at a time."""
        size = self.store.plan.image
        for top in range(0, size[0], rows):
            yield self.window((top, *(0,) * (len(size) - 1)), (top + rows, *size[1:]))
