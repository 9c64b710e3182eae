"""Arrays that stay in their files: of each, only the windows that are asked for are in memory.

A `Stored` takes the place of an array in a `Dataset` that does not fit in memory. It knows its file, not the file's
content, so that it travels to another process as a few bytes. Files are opened where a window is read, by the readers
of `readers`, and kept open, or decoded, as long as they fit into a budget; so memory does not grow with the data.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from unet_data.decode import check_file, decode
from unet_data.labels import one_number
from unet_data.readers import Picture, import_zarr, open_pictures
from unet_data.readers_tiff import CACHE, is_tiff, open_tiff
from unet_spec.errors import InputError

BUDGET = 2**28
"""Bytes that a process keeps of open files: decoded pictures, and the caches of those that are read by windows."""

MOST_CHANNELS = 4
"""Of an array without named axes, a last axis up to this long is one of channels, a longer one of pixels."""

Role = Literal["image", "label"]
Slices = tuple[slice, ...]


def unchanged(window: np.ndarray) -> np.ndarray:
    return window


@dataclass(frozen=True)
class Stored:
    """An image (*spatial, C) or a label (*spatial) in a file.

    Attributes:
        path: the file.
        number: which of its pictures.
        role: images become uint8, uint16 or float32 (see `images`); labels keep their numbers (see `labels`).
        spatial: the size in pixels per axis.
        channels: C of an image, None of a label.
        dtype: of what is read, after `convert`.
        convert: applied to each window.
        reach: pixels after the end of a window, along each axis, that `convert` sees too, where the file has them.
        first: planes of the first axis that lie before this array's own.
    """

    path: Path
    number: int
    role: Role
    spatial: tuple[int, ...]
    channels: int | None
    dtype: np.dtype
    convert: Callable[[np.ndarray], np.ndarray] = unchanged
    reach: int = 0
    first: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spatial if self.channels is None else (*self.spatial, self.channels)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.spatial[0]

    def __getitem__(self, window: Slices | slice) -> Any:
        """The pixels of a window: one slice, without step, per spatial axis. As of an array, one slice alone is a view
        of the first axis: another `Stored`. Raises InputError: damaged, NaN or infinite values."""
        if isinstance(window, slice):
            start, stop, _ = window.indices(self.spatial[0])
            return replace(self, spatial=(stop - start, *self.spatial[1:]), first=self.first + start)
        ends = [s.indices(n)[:2] for s, n in zip(window, self.spatial, strict=True)]
        (start, stop), *others = ends
        at = (slice(start + self.first, stop + self.first), *(slice(*e) for e in others))
        picture = _files.pictures(self.path, len(self.spatial), self.role)[self.number]
        if self.role == "image":
            return self.convert(picture[at])
        wide = tuple(slice(s.start, min(s.stop + self.reach, n)) for s, n in zip(at, picture.shape, strict=False))
        try:
            raw = picture.read(wide)
        except InputError:
            raise
        except Exception as e:  # the libraries raise nearly everything on damaged bytes
            raise InputError(f"{self.path}: the label at {at} cannot be read; the file is damaged ({e})") from None
        return self.convert(one_number(raw, self.path))[tuple(slice(s.stop - s.start) for s in at)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All of it, in memory."""
        return np.asarray(self[tuple(slice(0, n) for n in self.spatial)], dtype)


def stored_pictures(path: Path, spatial_dims: int, role: Role) -> list[Stored]:
    """Every picture of a file, or with spatial_dims = 3 its pages as one volume. Raises InputError as `read_stack`."""
    found = []
    for number, picture in enumerate(_files.pictures(path, spatial_dims, role)):
        *spatial, channels = picture.shape
        dtype = picture[tuple(slice(0, 1) for _ in spatial)].dtype if role == "image" else np.dtype(np.int32)
        found.append(Stored(path, number, role, tuple(spatial), channels if role == "image" else None, dtype))
    return found


def as_array(stored: Stored) -> np.ndarray:
    """The same, where a type says array and a window or the shape is all that is asked of it."""
    return cast(np.ndarray, stored)


class _Files:
    """The open files of this process, those used last."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple, tuple[list[Picture], int]] = OrderedDict()
        self._lock = threading.Lock()

    def pictures(self, path: Path, spatial_dims: int, role: Role) -> list[Picture]:
        try:
            key = (path, path.stat().st_mtime_ns, spatial_dims, role)
        except OSError:
            raise InputError(f"{path}: no such file") from None
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key][0]
        pictures, cost = _open_file(path, spatial_dims, role)
        with self._lock:
            self._open[key] = pictures, cost
            while sum(cost for _, cost in self._open.values()) > BUDGET and len(self._open) > 1:
                self._open.popitem(last=False)
        return pictures


_files = _Files()
_ARRAY = 2**16  # what an open array, mapped anew for each window, counts in the budget: a bound on how many are open


def _open_file(path: Path, spatial_dims: int, role: Role) -> tuple[list[Picture], int]:
    """The pictures, whose `read` gives pixels as they are stored, and how many bytes they may come to hold."""
    if path.suffix in (".npy", ".zarr"):
        return open_pictures(path, spatial_dims, _array_channels(path, spatial_dims)), _ARRAY
    read, shape = open_tiff(path, 0) if is_tiff(check_file(path)) else (None, (0, 0, 0, 0))
    if read is None:
        stack = decode(path, labels=role == "label")
        parts = stack if spatial_dims == 2 else stack[None]
        return [Picture(part.shape, part.__getitem__, str(path)) for part in parts], stack.nbytes
    pages, cost = read, min(math.prod(shape) * 8, CACHE)

    def page(number: int) -> Callable[[Slices], np.ndarray]:
        return lambda window: pages(number, window)

    def volume(window: Slices) -> np.ndarray:
        return np.stack([pages(i, window[1:]) for i in range(window[0].start, window[0].stop)])

    if spatial_dims == 3:
        return [Picture(tuple(shape), volume, str(path))], cost
    return [Picture(tuple(shape[1:]), page(i), str(path)) for i in range(shape[0])], cost


def _array_channels(path: Path, spatial_dims: int) -> int:
    """Channels of a .npy or .zarr: of its axis named c or, without names, of a short last axis."""
    if path.suffix == ".npy":
        try:
            shape = np.load(check_file(path), mmap_mode="r", allow_pickle=False).shape
        except (ValueError, OSError, EOFError) as e:
            raise InputError(f"{path}: cannot be read, no .npy file or cut short ({e})") from None
    else:
        shape = _zarr_shape(path)
        if isinstance(shape, int):
            return shape
    with_last = len(shape) == spatial_dims + 2 or (len(shape) == spatial_dims + 1 and shape[-1] <= MOST_CHANNELS)
    return shape[-1] if with_last else 1


def _zarr_shape(path: Path) -> tuple[int, ...] | int:
    """The shape of a zarr array; of an OME-Zarr group, whose axes have names, the channels."""
    try:
        node: Any = import_zarr().open(str(path), mode="r")
        if not hasattr(node, "keys"):
            return node.shape
        attributes = dict(node.attrs)
        level = attributes.get("ome", attributes)["multiscales"][0]
        names = [axis["name"] if isinstance(axis, dict) else axis for axis in level["axes"]]
        return node[level["datasets"][0]["path"]].shape[names.index("c")] if "c" in names else 1
    except InputError:
        raise
    except Exception as e:  # zarr's errors share no base class
        raise InputError(f"{path}: cannot be read as zarr ({type(e).__name__}: {e})") from None
