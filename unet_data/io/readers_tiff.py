"""Reads TIFF files by windows: only the tiles or strips that overlap a window are read and decoded.

tifffile parses the file and decodes segments. This module finds the segments of a window, so that zarr, which tifffile
needs to read windows, is not required. A file behind a URL is read likewise: its headers in blocks, then the bytes of
segments.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol, cast, runtime_checkable

import numpy as np

from unet_spec.errors import InputError

from .budget import check_memory
from .decode import begins_tiff, check_ratio, one_line
from .facts import ReadSettings, Role
from .formats.decode_tiff import TiffSeries, choose_series, full_axes, open_tifffile, tiff_series, tifffile_complaints
from .orientation import stored_window, swaps, turned
from .stores.ranges import RemoteFile
from .stores.remote import shown, url_of

CACHE = 2**26
"""Bytes of decoded segments in the cache: neighbouring windows share the segments at their common edge."""

_SLACK = 2**20


def open_tiff(path: Path, whole_below: int, role: Role, settings: ReadSettings) -> Pages | None:
    """The pages of the series to read. None if they have less than `whole_below` bytes of pixels, if there are several
    series, or if `decode_tiff` is needed for the order of the axes.

    Raises:
        InputError: the file is damaged or incomplete.
    """
    tiff, far = None, RemoteFile(path) if url_of(path) is not None else None
    if far is not None:
        if not begins_tiff(far.read(4)):
            raise InputError(f"{shown(path)}: is not a TIFF; other files than TIFF and zarr must be downloaded first")
        far.seek(0)
    try:
        with tifffile_complaints() as complaints:
            tiff = open_tifffile(path if far is None else cast(IO[bytes], far))
            chosen = choose_series(path, tiff, role, settings) if tiff_series(tiff) else None
        if complaints:
            raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({complaints[0]})")
        if chosen is None or len(chosen.series) != 1:
            tiff.close()
            return None
        if chosen.series[0].nbytes < whole_below or not _plain(chosen):
            tiff.close()
            return None
        pages = Pages(path, tiff, chosen, far or _LocalFile(path, tiff))
        weakref.finalize(pages, tiff.close)
    except Exception as e:  # struct.error, KeyError, ...: damaged bytes raise nearly everything
        if tiff is not None:
            tiff.close()
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({one_line(e)})") from None
    return pages


def open_remote_tiff(path: Path, role: Role, settings: ReadSettings) -> Pages:
    """The pages of a TIFF at a URL.

    Raises:
        InputError: as `open_tiff`; the file is no TIFF, or has pictures that cannot be read by windows.
    """
    pages = open_tiff(path, 0, role, settings)
    if pages is None:
        raise InputError(
            f"{shown(path)}: holds several images, or axes that cannot be read by windows; download the file first"
        )
    return pages


@runtime_checkable
class _Source(Protocol):
    """The bytes of a file. `local`: path of a file that can be mapped into memory; None for a remote one, of which each
    request takes time."""

    size: int
    local: Path | None

    def ranges(self, wanted: Sequence[tuple[int, int]], /) -> list[bytes]: ...


class _LocalFile:
    def __init__(self, path: Path, tiff: Any):
        self.size, self._tiff = path.stat().st_size, tiff
        self.local: Path | None = path

    def ranges(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        descriptor = self._tiff.filehandle.fileno()
        return [os.pread(descriptor, count, offset) for offset, count in wanted]


def _plain(chosen: TiffSeries) -> bool:
    """Whether each page is one image plane with its colours, so that windows can be read from it."""
    page, axes = chosen.series[0].keyframe, chosen.facts.axes
    own = full_axes(chosen.series[0])[0]
    if axes != own and (axes[-2:] != "YX" or own[-2:] != "YX"):  # with the user's axes, pages are not planes
        return False
    return getattr(page, "imagedepth", 1) == 1 and axes[-1:] in ("X", "S") and set(axes) <= set("TZCQIRYXS")


class Pages:
    """The pages of one series, (N, H, W, C), read by windows. Thread-safe."""

    def __init__(self, path: Path, tiff: Any, chosen: TiffSeries, source: _Source):
        series, self.facts, self._finish = chosen.series[0], chosen.facts, chosen.finish
        self._source, self._together = source, 1
        self._path, self._tiff, self._series = path, tiff, series  # `tiff` stays open as long as this does
        self._page, self._orientation = series.keyframe, self.facts.orientation if self.facts.turned else 1
        axes, shape = self.facts.axes, self.facts.sizes
        lengths = dict(zip(axes, shape, strict=True))
        samples, planes = lengths.get("S", 1), lengths.get("C", 1)
        if samples > 1 and planes > 1:
            raise InputError(f"{path}: has two channel axes ({axes}, shape {shape}); save it with one")
        self._counted = [n for letter, n in zip(axes, shape, strict=True) if letter not in "YXSC"]
        self._plane_axes = [(letter, n) for letter, n in zip(axes, shape, strict=True) if letter not in "YXS"]
        self._planes, self._samples = planes, samples
        count = int(np.prod(self._counted, dtype=np.int64))
        self._height, self._width = lengths["Y"], lengths["X"]
        size = (self._width, self._height) if swaps(self._orientation) else (self._height, self._width)
        channels = self._finish(np.zeros((1, planes * samples), series.dtype)).shape[-1]
        self.shape = (count, *size, channels)
        self._raw = series.dataoffset if not self._separate else None
        end = source.size
        check_ratio(path, self.shape, end)
        if self._raw is None:
            page = self._page
            rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self._width)
            segment = min(rows, self._height + rows * page.is_tiled) * columns * samples * series.dtype.itemsize
            check_memory(path, 2 * segment, end, "a tile or strip needs")
            self._check_counts(2 * segment + _SLACK)
            if source.local is None:
                self._together = max(1, CACHE // max(1, segment))
        last = self._raw + series.nbytes if self._raw is not None else self._last_byte()
        if last > end:
            raise InputError(
                f"{path}: is incomplete: its pixels extend to byte {last}, but the file ends at byte {end}"
            )
        self._cache: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def _separate(self) -> bool:
        """Whether colours are stored in separate planes of a page."""
        return self._samples > 1 and int(self._page.planarconfig) == 2

    def _check_counts(self, most: int) -> None:
        """Refuses tiles or strips that are stored in more bytes than they can have."""
        stored = max((int(np.max(page.databytecounts, initial=0)) for page in self._series.pages if page), default=0)
        if stored > most:
            raise InputError(
                f"{self._path}: is damaged: a tile or strip has {stored} bytes; at most {most} are plausible"
            )

    def _last_byte(self) -> int:
        last = 0
        for page in self._series.pages:
            if page is None:
                raise InputError(f"{self._path}: is incomplete: pages are missing")
            offsets, counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
            last = max(last, int((offsets + counts).max(initial=0)))
        return last

    def read(self, number: int, window: tuple[slice, ...]) -> np.ndarray:
        """Pixels (H, W, C) of picture `number`, for slices (rows, columns)."""
        size = (self.shape[1], self.shape[2])
        at = stored_window(window[0], window[1], size, self._orientation)
        planes = [self._plane(self._index(number, c), *at) for c in range(self._planes)]
        pixels = planes[0] if self._planes == 1 else np.concatenate(planes, axis=-1)
        return turned(self._finish(pixels), self._orientation)

    def _index(self, number: int, channel: int) -> int:
        """The page of a picture's channel, in the order of the file's axes."""
        at = iter(np.unravel_index(number, self._counted) if self._counted else ())
        place = [channel if letter == "C" else int(next(at)) for letter, _ in self._plane_axes]
        return int(np.ravel_multi_index(place, [n for _, n in self._plane_axes])) if place else 0

    def _plane(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        height, width = self._height, self._width
        if self._raw is not None:  # contiguous uncompressed pixels: mapped for each window
            stored = np.dtype(self._series.dtype).newbyteorder(self._tiff.byteorder)
            count = self._series.size // (height * width * self._samples)
            shape = (count, height, width, self._samples)
            if self._source.local is None:
                return self._requested_rows(stored, index, rows, columns)
            mapped = np.memmap(self._source.local, stored, "r", self._raw, shape)
            return np.array(mapped[index, rows, columns])
        page = self._page
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        across, down = -(-width // tile[1]), -(-height // tile[0])
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, self._samples), self._series.dtype)
        for plane in range(self._samples if self._separate else 1):
            target = out[..., plane : plane + 1] if self._separate else out
            places = [
                (i, j)
                for i in range(rows.start // tile[0], -(-rows.stop // tile[0]))
                for j in range(columns.start // tile[1], -(-columns.stop // tile[1]))
            ]
            for first in range(0, len(places), self._together):
                now = places[first : first + self._together]
                segments = self._segments(index, [(plane * down + i) * across + j for i, j in now])
                for (i, j), segment in zip(now, segments, strict=True):
                    top, left = i * tile[0], j * tile[1]
                    a, b = max(rows.start, top), min(rows.stop, top + segment.shape[0])
                    c, d = max(columns.start, left), min(columns.stop, left + segment.shape[1])
                    target[a - rows.start : b - rows.start, c - columns.start : d - columns.start] = segment[
                        a - top : b - top, c - left : d - left
                    ]
        return out

    def _requested_rows(self, stored: np.dtype, index: int, rows: slice, columns: slice) -> np.ndarray:
        """A window (H, W, samples) of contiguous uncompressed pixels at a URL: whole rows, unless they are much longer
        than the window."""
        assert self._raw is not None
        pixel = self._samples * stored.itemsize
        width = columns.stop - columns.start
        first, count = (0, self._width) if 4 * width >= self._width else (columns.start, width)
        starts = ((index * self._height + row) * self._width + first for row in range(rows.start, rows.stop))
        parts = self._source.ranges([(self._raw + start * pixel, count * pixel) for start in starts])
        pixels = np.frombuffer(b"".join(parts), stored).reshape(-1, count, self._samples)
        return np.array(pixels[:, columns.start - first : columns.stop - first])

    def _segments(self, index: int, numbers: Sequence[int]) -> list[np.ndarray]:
        """Decoded tiles or strips (H, W, samples), of which those that are not in the cache are read together."""
        page = self._series.pages[index]
        keyframe = page.keyframe if page.keyframe is not None else page
        with self._lock:
            found = {number: self._cache[index, number] for number in numbers if (index, number) in self._cache}
            missing = [number for number in numbers if number not in found]
            written = [number for number in missing if page.databytecounts[number]]
            read = self._source.ranges([(page.dataoffsets[n], page.databytecounts[n]) for n in written])
            data = dict(zip(written, read, strict=True))
            for number in missing:
                decoded, _, shape = keyframe.decode(data.get(number), number, jpegtables=keyframe.jpegtables)
                unwritten = decoded is None
                found[number] = np.full(shape[1:], page.nodata, self._series.dtype) if unwritten else decoded[0]
            for number in numbers:
                self._cache[index, number] = found[number]
                self._cache.move_to_end((index, number))
            while sum(p.nbytes for p in self._cache.values()) > CACHE and len(self._cache) > 1:
                self._cache.popitem(last=False)
            return [found[number] for number in numbers]
