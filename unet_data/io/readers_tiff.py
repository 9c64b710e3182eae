"""Reads TIFF files by windows: only the tiles or strips that overlap a window are read and decoded.

tifffile parses the file and decodes segments. This module finds the segments of a window, so that zarr, which tifffile
needs to read windows, is not required.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from .budget import check_memory
from .decode import check_ratio, one_line
from .facts import ReadSettings, Role
from .formats.decode_tiff import TiffSeries, choose_series, full_axes, open_tifffile, tiff_series, tifffile_complaints
from .orientation import stored_window, swaps, turned

CACHE = 2**26
"""Bytes of decoded segments in the cache: neighbouring windows share the segments at their common edge."""


def open_tiff(path: Path, whole_below: int, role: Role, settings: ReadSettings) -> Pages | None:
    """The pages of the series to read. None if they have less than `whole_below` bytes of pixels, if there are several
    series, or if `decode_tiff` is needed for the order of the axes.

    Raises:
        InputError: the file is damaged or incomplete.
    """
    tiff = None
    try:
        with tifffile_complaints() as complaints:
            tiff = open_tifffile(path)
            chosen = choose_series(path, tiff, role, settings) if tiff_series(tiff) else None
        if complaints:
            raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({complaints[0]})")
        if chosen is None or len(chosen.series) != 1:
            tiff.close()
            return None
        if chosen.series[0].nbytes < whole_below or not _plain(chosen):
            tiff.close()
            return None
        pages = Pages(path, tiff, chosen)
        weakref.finalize(pages, tiff.close)
    except Exception as e:  # struct.error, KeyError, ...: damaged bytes raise nearly everything
        if tiff is not None:
            tiff.close()
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({one_line(e)})") from None
    return pages


def _plain(chosen: TiffSeries) -> bool:
    """Whether each page is one image plane with its colours, so that windows can be read from it."""
    page, axes = chosen.series[0].keyframe, chosen.facts.axes
    own = full_axes(chosen.series[0])[0]
    if axes != own and (axes[-2:] != "YX" or own[-2:] != "YX"):  # with the user's axes, pages are not planes
        return False
    return getattr(page, "imagedepth", 1) == 1 and axes[-1:] in ("X", "S") and set(axes) <= set("TZCQIRYXS")


class Pages:
    """The pages of one series, (N, H, W, C), read by windows. Thread-safe."""

    def __init__(self, path: Path, tiff: Any, chosen: TiffSeries):
        series, self.facts, self._finish = chosen.series[0], chosen.facts, chosen.finish
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
        end = path.stat().st_size
        check_ratio(path, self.shape)
        if self._raw is None:
            page = self._page
            rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, self._width)
            segment = min(rows, self._height + rows * page.is_tiled) * columns * samples * series.dtype.itemsize
            check_memory(path, 2 * segment, end, "a tile or strip needs")
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
            mapped = np.memmap(self._path, stored, "r", self._raw, shape)
            return np.array(mapped[index, rows, columns])
        page = self._page
        tile = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, height), width)
        across, down = -(-width // tile[1]), -(-height // tile[0])
        out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, self._samples), self._series.dtype)
        for plane in range(self._samples if self._separate else 1):
            target = out[..., plane : plane + 1] if self._separate else out
            for i in range(rows.start // tile[0], -(-rows.stop // tile[0])):
                for j in range(columns.start // tile[1], -(-columns.stop // tile[1])):
                    segment = self._segment(index, (plane * down + i) * across + j)
                    top, left = i * tile[0], j * tile[1]
                    a, b = max(rows.start, top), min(rows.stop, top + segment.shape[0])
                    c, d = max(columns.start, left), min(columns.stop, left + segment.shape[1])
                    target[a - rows.start : b - rows.start, c - columns.start : d - columns.start] = segment[
                        a - top : b - top, c - left : d - left
                    ]
        return out

    def _segment(self, index: int, segment: int) -> np.ndarray:
        """A decoded tile or strip (H, W, samples)."""
        with self._lock:
            if (index, segment) in self._cache:
                self._cache.move_to_end((index, segment))
                return self._cache[index, segment]
            page = self._series.pages[index]
            offset, count = page.dataoffsets[segment], page.databytecounts[segment]
            data = os.pread(self._tiff.filehandle.fileno(), count, offset) if count else None
            keyframe = page.keyframe if page.keyframe is not None else page
            decoded, _, shape = keyframe.decode(data, segment, jpegtables=keyframe.jpegtables)
            if decoded is None:  # a segment that was never written
                pixels = np.full(shape[1:], page.nodata, self._series.dtype)
            else:
                pixels = decoded[0]
            self._cache[index, segment] = pixels
            while sum(p.nbytes for p in self._cache.values()) > CACHE and len(self._cache) > 1:
                self._cache.popitem(last=False)
            return pixels
