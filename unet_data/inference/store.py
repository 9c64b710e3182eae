"""Finished tiles on disk. They make a prediction resumable, and let several processes share it.

Beside the result is a folder RESULT.part. Its run.json describes the run, and each finished tile is a file
<image>-<tile>.npy, which is written atomically. So a killed run can be continued. Processes on several machines each
write different tiles, and no lock is needed. When all tiles exist, `Mosaic` reads them as one array, from which the
result is written; then the folder is removed. If the result is a URL, the tiles are objects of the same store, also
written atomically, so that machines without a common disk can share a run.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import format_bytes, remove, replacing, write_errors_as_input_error
from unet_spec.tiling.tiles import TilePlan
from unet_spec.untrusted.strict_json import parse_json

from ..io.facts import PLAIN, FileFacts
from ..io.stores import remote
from ..io.stores.remote import shown, url_of
from ..io.writers import write_windows
from ..windows import Windows

RUN = "run.json"
OBJECTS = "objects"
"""The folder, beside the tiles, of the blocks in which objects are made."""
_OWN = re.compile(r"objects|run\.json|\.run\.json\.[0-9a-f]{12}|\.?\d+-\d+(\.[0-9a-f]{12})?\.npy")
"""Names of the files of a prediction in its folder of tiles."""


def begin(folder: Path, request: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    """Begins a run in a folder, or joins the run that it contains.

    Args:
        folder: folder of the tiles.
        request: everything that the result depends on, as JSON. It must equal that of the run in the folder.
        planned: this process's plan, as JSON. If several processes start at the same time, the first plan holds for
            all.

    Returns:
        The plan of the run.

    Raises:
        InputError: the folder holds another run (the message names the differences), or cannot be written.
    """
    record = json.loads(json.dumps({"asked": request, "planned": planned}))
    path = folder / RUN
    _check_own(folder)
    if url_of(folder) is not None:
        remote.create(path, (json.dumps(record, indent=2) + "\n").encode())
        return _joined(folder, record, remote.read(path).decode())
    with write_errors_as_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            temporary = folder / f".{RUN}.{uuid.uuid4().hex[:12]}"
            try:
                temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
                _link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        text = path.read_text(encoding="utf-8")
    return _joined(folder, record, text)


def begun_with(target: Path) -> str | None:
    """The runtime of an unfinished result, whose tiles lie in `target`.part. None: there is none, or it cannot be
    read."""
    path = target.with_name(target.name + ".part") / RUN
    try:
        text = remote.read(path).decode() if url_of(path) is not None else path.read_text(encoding="utf-8")
        return str(parse_json(text, path)["asked"]["runtime"])
    except (OSError, ValueError, KeyError, TypeError):  # InputError is a ValueError
        return None


def _joined(folder: Path, record: dict[str, Any], text: str) -> dict[str, Any]:
    """The plan of the run whose run.json contains `text`. Raises InputError if it is another run."""
    where = shown(folder)
    try:
        found = parse_json(text, folder / RUN)
        there, how = dict(found["asked"]), dict(found["planned"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{where}: {RUN} is damaged, or not from a prediction; move the folder elsewhere") from None
    if there != record["asked"]:
        keys = [k for k in {**record["asked"], **there} if record["asked"].get(k) != there.get(k)]
        raise InputError(
            f"{where} contains tiles of another run, with another {', '.join(keys)}; "
            "give the same settings to continue it, or delete the folder to start again"
        )
    return how


def _check_own(folder: Path) -> None:
    """Refuses a folder with other files than a run's, since a prediction fills and deletes the folder."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(
            f"{folder}: is not a folder of tiles; move it elsewhere, or choose another name for the result"
        )
    if url_of(folder) is not None:
        entries = remote.names(folder)
    else:
        entries = {p.name for p in folder.iterdir()} if folder.exists() else set()
    foreign = sorted(name for name in entries if not _OWN.fullmatch(name))
    if foreign:
        raise InputError(
            f"{shown(folder)}: contains {foreign[0]}, which is not from a prediction; move it elsewhere, "
            "or choose another name for the result"
        )


def check_room(folder: Path, result: int) -> None:
    """Raises InputError if the disk has no room for a result of `result` bytes and its tiles in `folder`, which need
    not exist yet. A URL is assumed to have room."""
    if url_of(folder) is not None:
        return
    there = sum(path.stat().st_size for path in folder.glob("*.npy"))
    disk = next(each for each in folder.absolute().parents if each.exists())
    if (free := shutil.disk_usage(disk).free) < (needed := 2 * result - there):
        raise InputError(
            f"{folder.parent}: the tiles and the result need up to {format_bytes(needed)}, but only "
            f"{format_bytes(free)} are free on the disk"
        )


def _link(temporary: Path, path: Path) -> None:
    """Gives a finished file its name, unless a file of that name exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        os.replace(temporary, path)


def shard(count: int, part: int, parts: int) -> range:
    """The numbers of the tiles that part `part` of `parts` (from 1) computes: a range of the `count` tiles.

    The ranges of all parts are disjoint and cover all tiles.

    Raises:
        InputError: there is no such part.

    Example:
        >>> from unet_data.inference.store import shard
        >>> [shard(10, part, 3) for part in (1, 2, 3)]
        [range(0, 3), range(3, 6), range(6, 10)]
    """
    if parts < 1 or not 1 <= part <= parts:
        raise InputError(f"--shard {part}/{parts} is not a part; give i/n with i from 1 to n")
    return range(count * (part - 1) // parts, count * part // parts)


@dataclass(frozen=True)
class TileStore:
    """The folder of one result.

    Attributes:
        folder: RESULT.part.
        plan: plan of every image.
        images: number of images.
        value_shape, dtype: shape, () or (K,), and dtype of a pixel of the result.
    """

    folder: Path
    plan: TilePlan
    images: int
    value_shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        """Number of tiles of all images. A tile's number is image · tiles per image + tile."""
        return self.images * len(self.plan)

    @property
    def _local(self) -> bool:
        return url_of(self.folder) is None

    def path(self, number: int) -> Path:
        image, tile = divmod(number, len(self.plan))
        return self.folder / f"{image:05d}-{tile:07d}.npy"

    def done(self) -> set[int]:
        """The numbers of the tiles that are finished."""
        try:
            entries = os.listdir(self.folder) if self._local else remote.names(self.folder)
        except OSError as e:
            raise InputError(f"{self.folder}: was removed, or cannot be read ({e.strerror})") from None
        found = [re.fullmatch(r"(\d+)-(\d+)\.npy", entry) for entry in entries]
        return {int(name[1]) * len(self.plan) + int(name[2]) for name in found if name}

    def put(self, number: int, pixels: np.ndarray) -> None:
        """Writes a finished tile and synchronises it to the disk. Raises InputError."""
        note = f"; finished tiles are kept in {self.folder}: free disk space and run the same command again"
        path = self.path(number)
        if not self._local:
            _remote_tile.cache_clear()
            return remote.write(path, _packed(np.ascontiguousarray(pixels, self.dtype)))
        with write_errors_as_input_error(path, note), replacing(path) as temporary, temporary.open("wb") as file:
            pixels = np.ascontiguousarray(pixels, self.dtype)
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(pixels))
            file.write(pixels.tobytes())  # np.save bypasses `file`, so that a full disk would not be noticed
            file.flush()
            os.fsync(file.fileno())

    def load(self, number: int) -> np.ndarray:
        """A finished tile, memory-mapped. Raises InputError if its file is missing or damaged."""
        shape = tuple(s.stop - s.start for s in self.plan[number % len(self.plan)].target) + self.value_shape
        path, pixels = self.path(number), None
        with contextlib.suppress(OSError, ValueError, EOFError):
            pixels = np.load(path, mmap_mode="r", allow_pickle=False) if self._local else _remote_tile(path)
        if pixels is None or pixels.shape != shape or pixels.dtype != self.dtype:
            raise InputError(f"{shown(path)}: is damaged; delete it and run the same command again")
        return pixels

    def pixels(self, numbers: Iterable[int]) -> int:
        """Number of pixels of these tiles."""
        targets = (self.plan[number % len(self.plan)].target for number in numbers)
        return sum(math.prod(s.stop - s.start for s in target) for target in targets)

    def write(
        self, path: Path, facts: FileFacts = PLAIN, labels: bool = False, images: Sequence[Windows] | None = None
    ) -> None:
        """Writes all images of a finished store. Raises InputError as `write_windows`, and for a damaged tile.

        `facts` are those of the file from which they were computed. `labels` states whether they are class numbers.
        `images` are computed from the tiles; None: the tiles themselves.
        """
        note = f"; finished tiles are kept in {self.folder}: free disk space and run the same command again"
        images = images or [Mosaic(self, image) for image in range(self.images)]
        write_windows(path, images, note, facts, labels)

    @contextmanager
    def joined(self) -> Iterator[Callable[[], bool]]:
        """Marks the folder as used during the block. Yields a function that tests that no other process uses it."""
        if not self._local:
            yield lambda: True
            return
        try:
            lock = os.open(self.folder / RUN, os.O_RDONLY)
        except OSError as e:
            raise InputError(f"{self.folder}: cannot be read: {e.strerror}") from None

        def alone() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:  # a file system without locks
                pass
            return True

        try:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield alone
        finally:
            os.close(lock)

    def remove(self) -> None:
        """Deletes the folder, except for files in it that no prediction wrote."""
        if not self._local:  # `begin` has checked that it contains nothing else
            _remote_tile.cache_clear()
            return remote.remove(self.folder)
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                if _OWN.fullmatch(path.name):
                    remove(path)
            self.folder.rmdir()


def _packed(pixels: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    file = io.BytesIO()
    np.save(file, pixels, allow_pickle=False)
    return file.getvalue()


@lru_cache(maxsize=4)
def _remote_tile(path: Path) -> np.ndarray:
    """A tile behind a URL, cached because consecutive windows read the same tile."""
    return np.load(io.BytesIO(remote.read(path)), allow_pickle=False)


@dataclass(frozen=True)
class Mosaic:
    """All tiles of one image as an array (*spatial) or (*spatial, K) to be read by windows."""

    store: TileStore
    image: int

    @property
    def spatial_dims(self) -> int:
        return len(self.store.plan.image)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.store.plan.image, *self.store.value_shape)

    @property
    def dtype(self) -> np.dtype:
        return self.store.dtype

    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        """Every `step`-th pixel in the half-open range from `start` (a multiple of `step`) to `stop`, per axis."""
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
