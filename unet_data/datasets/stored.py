"""Arrays that stay in their files. Only the requested windows are in memory.

A `Stored` replaces an array in a `Dataset` that does not fit in memory. It holds the path of its file but not the
content, so that it is sent to another process as a few bytes. Files are opened by `readers` when a window is read. They
stay open, or decoded, as long as they fit into a budget, so memory does not grow with the data.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from unet_spec.errors import InputError

from ..io.facts import DEFAULTS, PLAIN, FileFacts, ReadSettings, Role, void
from ..io.readers import Picture, open_pictures
from ..io.stores.remote import identity, url_of
from ..io.stores.signed import Secret, remember, secret_of
from ..labels.numbers import one_number
from ..windows import Slices
from .label_rule import IGNORED

BUDGET = 2**28
"""Maximum bytes of open files per process: decoded pictures, and the caches of files that are read by windows."""


def unchanged(window: np.ndarray) -> np.ndarray:
    return window


@dataclass(frozen=True)
class Stored:
    """An image (*spatial, C) or a label (*spatial) in a file.

    Attributes:
        path: the file.
        number: index of the picture in the file.
        role: images become uint8, uint16 or float32 (see `images`); labels keep their numbers (see `label_rule`).
        spatial: the size in pixels per axis.
        channels: C of an image; None for a label.
        dtype: dtype of a window, after `convert`.
        convert: function that is applied to each window.
        reach: further pixels beyond the end of a window, along each axis, that `convert` needs, if the file has them.
        first: index in the file, along the first axis, of this array's first plane.
        settings: how the file is read if there is a choice.
        facts: the file's metadata about its pixels, and the decisions of the reader.
        source: the array whose windows these are, where they do not come from the file as they are (see
            `unet_data.resampling`).
        secret: for another process, what requests for the file need besides its address, see `signed`.
        image, nodata: for a label, its image and the image's value for missing data; such pixels become IGNORED.
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
    settings: ReadSettings = DEFAULTS
    facts: FileFacts = PLAIN
    image: Stored | None = None
    nodata: float | None = None
    source: Any = None
    secret: Secret = field(default=Secret(), repr=False, compare=False)

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
        """The pixels of a window, given as one slice without step per spatial axis. A single slice gives a view along
        the first axis, which is another `Stored`. Raises InputError for a damaged file, NaN or infinite values."""
        if isinstance(window, slice):
            start, stop, _ = window.indices(self.spatial[0])
            return replace(self, spatial=(stop - start, *self.spatial[1:]), first=self.first + start)
        remember(self.path, self.secret)
        ends = [s.indices(n)[:2] for s, n in zip(window, self.spatial, strict=True)]
        (start, stop), *others = ends
        at = (slice(start + self.first, stop + self.first), *(slice(*e) for e in others))
        if self.source is not None:
            return self._cut(self.convert(np.asarray(self.source[self._wide(at, self.source.shape)])), at)
        picture = _files.pictures(self.path, len(self.spatial), self.role, self.settings)[self.number]
        if self.role == "image":
            return self.convert(picture[at])
        try:
            raw = picture.read(self._wide(at, picture.shape))
        except InputError:
            raise
        except Exception as e:  # the libraries raise nearly everything on damaged bytes
            raise InputError(
                f"{self.path}: the label at {at} cannot be read, since the file is damaged ({e})"
            ) from None
        found = self._cut(self.convert(one_number(raw, self.path, self.settings)), at)
        if self.image is not None and self.nodata is not None:
            found[void(replace(self.image, first=0, convert=unchanged)[at], self.nodata).all(-1)] = IGNORED
        return found

    def _wide(self, window: Slices, shape: tuple[int, ...]) -> Slices:
        """The window with the further pixels that `convert` needs."""
        return tuple(slice(s.start, min(s.stop + self.reach, n)) for s, n in zip(window, shape, strict=False))

    def _cut(self, pixels: np.ndarray, window: Slices) -> np.ndarray:
        """The pixels without the further ones."""
        return pixels[tuple(slice(s.stop - s.start) for s in window)]

    def in_grey(self) -> Stored:
        """The image with one channel."""
        source = None if self.source is None else self.source.in_grey()
        return replace(self, settings=replace(self.settings, channels="grey"), channels=1, source=source)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The whole array, in memory."""
        return np.asarray(self[tuple(slice(0, n) for n in self.spatial)], dtype)


def stored_pictures(path: Path, spatial_dims: int, role: Role, settings: ReadSettings | None = None) -> list[Stored]:
    """The pictures of a file, as arrays that stay in it.

    Args:
        path: see `open_pictures`.
        spatial_dims: with 2, every page of a TIFF is a picture; with 3, the pages are one volume.
        role: "image" or "label".
        settings: how files are read if there is a choice.

    Raises:
        InputError: as `open_pictures`.
    """
    found, settings = [], settings or DEFAULTS
    if url_of(path) is not None:
        _files.forget(path)
    for number, picture in enumerate(_files.pictures(path, spatial_dims, role, settings)):
        *spatial, channels = picture.shape
        dtype = picture[tuple(slice(0, 1) for _ in spatial)].dtype if role == "image" else np.dtype(np.int32)
        own = channels if role == "image" else None
        common: dict[str, Any] = {"settings": settings, "facts": picture.facts, "secret": secret_of(path)}
        found.append(Stored(path, number, role, tuple(spatial), own, dtype, **common))
    return found


def as_array(stored: Stored) -> np.ndarray:
    """The same object, typed as an array, for code that uses only windows and the shape."""
    return cast(np.ndarray, stored)


def normalised(image: np.ndarray, normalization: Any) -> np.ndarray:
    """A normalised image, float32. An image that stays in its file is normalised window by window.

    `normalization` is a `unet_data.Normalization`. Its type is not imported, because it depends on this module.
    """
    if isinstance(image, Stored):
        return as_array(replace(image, convert=normalization.apply, dtype=np.dtype(np.float32)))
    return normalization.apply(image)


class _Files:
    """The open files of this process, a cache of those used last."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple, list[Picture]] = OrderedDict()
        self._remote: dict[Path, list[Any]] = {}
        self._lock = threading.Lock()

    def pictures(self, path: Path, spatial_dims: int, role: Role, settings: ReadSettings) -> list[Picture]:
        try:
            key = (path, *self._identity(path), spatial_dims, role, settings)
        except OSError:
            raise InputError(f"{path}: no such file") from None
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
        pictures = open_pictures(path, spatial_dims, whole_below=0, role=role, settings=settings)
        with self._lock:
            self._open[key] = pictures
            while sum(opened[0].held for opened in self._open.values()) > BUDGET and len(self._open) > 1:
                self._open.popitem(last=False)
        return pictures

    def forget(self, path: Path) -> None:
        """Opens a file again when it is used next."""
        with self._lock:
            self._remote.pop(path, None)
            for key in [key for key in self._open if key[0] == path]:
                del self._open[key]

    def _identity(self, path: Path) -> list[Any]:
        """`identity`; that of a URL is requested once, since it takes several requests."""
        if url_of(path) is None:
            return identity(path)
        if path not in self._remote:
            self._remote[path] = identity(path)
        return self._remote[path]


_files = _Files()
