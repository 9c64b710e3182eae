"""Reads TIFF files: chooses the pictures to read, and interprets their tags."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from unet_spec.errors import InputError

from ..carried import tiff_facts
from ..decode import check_claim
from ..facts import FileFacts, ReadSettings, Role
from ..orientation import TAG, swaps, turned
from .axes import named_axes
from .channels import adapted
from .decode_pillow import choose_palette, colours

_ALPHA = {1, 2}  # ExtraSamples: associated and unassociated alpha
_NODATA = 42113  # GDAL_NODATA
_SLIDES = ("svs", "scn", "bif", "ndpi", "philips", "qpi", "avs", "sis", "indica")
_BESIDE = re.compile(r"label|macro|thumbnail|overview|preview", re.IGNORECASE)


@dataclass(frozen=True)
class TiffSeries:
    """The series of a TIFF to read: one, or several of the same kind.

    Attributes:
        series: series of tifffile.
        facts: facts of the file.
        finish: converts stored samples (*n, C) to the result of a reader, pixel by pixel; it does not turn the image.
    """

    series: list[Any]
    facts: FileFacts
    finish: Callable[[np.ndarray], np.ndarray]


def decode_tiff(path: Path, role: Role, settings: ReadSettings) -> tuple[np.ndarray, FileFacts]:
    """See `decode`."""
    with tifffile_complaints() as complaints, open_tifffile(path) as tiff:
        if not tiff_series(tiff):
            raise InputError(f"{path}: contains no images; replace it with a complete copy")
        chosen = choose_series(path, tiff, role, settings)
        parts = [_decode_series(path, series, role, settings) for series in chosen.series]
    # tifffile raises no exception for a TIFF that ends between two pages: the missing pages are absent or zero.
    if complaints:
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({complaints[0]})")
    pixels = chosen.finish(parts[0] if len(parts) == 1 else np.concatenate(parts))
    return turned(pixels, chosen.facts.orientation) if chosen.facts.turned else pixels, chosen.facts


def open_tifffile(path: Path | IO[bytes]) -> Any:
    """A TiffFile with only the pages in this file: other files that an OME-TIFF refers to are not read."""
    import tifffile

    return tifffile.TiffFile(path, _multifile=False)


def choose_series(path: Path, tiff: Any, role: Role, settings: ReadSettings) -> TiffSeries:
    """Chooses, from headers, the series to read. Raises InputError for pictures of several kinds or unknown colours."""
    every = tiff_series(tiff)
    series = [each for each in every if not _is_auxiliary(each)] or every
    if any(getattr(tiff, f"is_{name}", False) for name in _SLIDES):
        series = [max(series, key=lambda each: each.size)]
    kinds = sorted({_kind(each) for each in series})
    if len(kinds) > 1:
        raise InputError(f"{path}: contains images of different kinds ({', '.join(kinds)}); save each in its own file")
    left_out = [f"the {_name(each)} picture" for each in every if each not in series]
    levels = len(getattr(series[0], "levels", ())) - 1
    if levels > 0:
        left_out.append(f"{levels} smaller level{'s' * (levels > 1)} of a pyramid")
    if tiff.is_ome and series[0].kind != "ome":
        left_out.append("the other files that an OME-TIFF refers to")
    page = series[0].keyframe
    axes, sizes = axes_of(path, series[0], role, settings)
    finish, decided = _finishing(path, page, series[0].dtype, _channels(path, axes, sizes), role, settings)
    tag = page.tags.get(TAG)
    orientation = int(tag.value) if tag is not None and tag.value in range(1, 9) else 1
    own = tiff_facts(tiff, page, axes, [every.index(each) for each in series])
    is_turned = orientation != 1 and settings.orientation == "apply"
    if is_turned and swaps(orientation) and own["spacing"]:
        *depth, y, x = own["spacing"]
        own["spacing"] = (*depth, x, y)
    if len(series) > 1:  # positions, or acquisitions
        axes, sizes = f"Q{axes}", (len(series), *sizes)
    facts = FileFacts(
        dtype=str(series[0].dtype),
        axes=axes,
        sizes=tuple(map(int, sizes)),
        orientation=orientation,
        turned=is_turned,
        left_out=tuple(left_out),
        nodata=_nodata(page),
        **own,
        **decided,
    )
    if (stated := full_axes(series[0])[0]) != axes.removeprefix("Q" * (len(series) > 1)) and settings.axes:
        note = f"axes read as {axes}, although the file states {stated}"
        facts = replace(facts, read_as=(*facts.read_as, note))
    return TiffSeries(series, facts, finish)


def _is_auxiliary(series: Any) -> bool:
    """Whether a series is a small picture that a scanner or a program added to the image."""
    page = series.keyframe
    return bool(_BESIDE.search(str(series.name))) or bool(page.is_reduced and not page.is_mask)


def _name(series: Any) -> str:
    found = _BESIDE.search(str(series.name))
    return found[0].lower() if found else "reduced" if series.keyframe.is_reduced else "smaller"


def _kind(series: Any) -> str:
    axes, shape = full_axes(series)
    lengths = dict(zip(axes, shape, strict=True))
    channels = lengths.get("S", 1) * lengths.get("C", 1)
    return f"{lengths.get('X')}x{lengths.get('Y')}x{channels} {series.dtype}"


def _nodata(page: Any) -> float | None:
    tag = page.tags.get(_NODATA)
    try:
        return None if tag is None else float(str(tag.value).strip("\0 "))
    except ValueError:
        return None


def tiff_series(tiff: Any) -> list[Any]:
    """The series of a TiffFile, for `full_axes`; empty if it has no pages."""
    if not len(tiff.pages):
        return []
    if isinstance(tiff.series, list):  # before tifffile 2026.5
        return tiff.series
    return list(tiff.series(squeeze=False))


def full_axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of one of `tiff_series`, including axes of length 1."""
    if hasattr(series, "get_axes"):  # before tifffile 2026.5
        return series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    return series.axes, series.shape


def axes_of(path: Path, series: Any, role: Role, settings: ReadSettings) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of a series, with the axes given by the user or else by the file.

    Raises InputError if the user gives another number of axes.
    """
    axes, shape = full_axes(series)
    if not settings.axes:
        return axes, shape
    return named_axes(settings.axes, shape, role == "label", path, axes)


def _channels(path: Path, axes: str, shape: tuple[int, ...]) -> int:
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise InputError(f"{path}: has axes {axes} of shape {shape}; an image needs one Y and one X axis")
    lengths = [n for letter, n in zip(axes, shape, strict=True) if letter in "SC"]
    if sum(n > 1 for n in lengths) > 1:
        raise InputError(f"{path}: has two channel axes ({axes}, shape {shape}); save it with one")
    return int(np.prod(lengths, dtype=np.int64))


def _decode_series(path: Path, series: Any, role: Role, settings: ReadSettings) -> np.ndarray:
    """One series as (N, H, W, C): Y and X are H and W, S or C is the channel, all other axes are joined in N."""
    axes, shape = axes_of(path, series, role, settings)
    check_claim(path, shape, series.dtype.itemsize)
    rows, columns = axes.index("Y"), axes.index("X")
    channel = [i for i, letter in enumerate(axes) if letter in "SC"]
    counted = [i for i in range(len(axes)) if i not in (rows, columns, *channel)]
    try:
        stored = series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        name = getattr(series.keyframe.compression, "name", series.keyframe.compression)
        raise InputError(
            f"{path}: is compressed with {name}, which needs the package imagecodecs (pip install imagecodecs)"
        ) from None
    pixels = stored.reshape(shape).transpose(*counted, rows, columns, *channel)
    channels = _channels(path, axes, shape)
    return pixels.reshape(-1, shape[rows], shape[columns], channels) if pixels.size else pixels


def _finishing(
    path: Path, page: Any, dtype: np.dtype, channels: int, role: Role, settings: ReadSettings
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[str, Any]]:
    """A function that converts samples after decoding, and the facts about the conversion."""
    import tifffile

    # tifffile reports an absent tag as 0, which would mean "white is zero".
    tag = page.tags.get("PhotometricInterpretation")
    photometric = tifffile.PHOTOMETRIC(tag.value) if tag is not None else tifffile.PHOTOMETRIC.MINISBLACK
    steps: list[Callable[[np.ndarray], np.ndarray]] = []
    facts: dict[str, Any] = {}
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and dtype.kind in "bu":
        # 1-bit files (fax) encode the displayed image. Wider masks are from ImageJ, which inverts only the display.
        shown = role == "image" or dtype.kind == "b"
        invert = shown if settings.white_is_zero == "auto" else settings.white_is_zero == "displayed"
        facts["white_is_zero"] = "inverted" if invert else "stored"
        steps += [np.invert] * invert
    elif photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        look_up, facts["palette"] = choose_palette(palette, role, settings)
        facts["colours"] = colours(palette, facts["palette"])
        steps.append(look_up if facts["palette"] == "index" else partial(_looked_up, look_up))
    elif photometric.name in ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB", "CFA", "LOGL", "LOGLUV"):
        raise InputError(f"{path}: has colours of kind {photometric.name}; convert it to grey or RGB")
    extra = page.extrasamples
    if extra and channels > len(extra) and any(int(kind) in _ALPHA for kind in extra):
        if settings.channels == "all" and role == "image":
            facts["alpha"] = "kept"
        else:
            first = channels - len(extra)
            keep = [*range(first), *(first + i for i, kind in enumerate(extra) if int(kind) not in _ALPHA)]
            facts["alpha"] = "dropped"
            steps.append(lambda pixels: pixels[..., keep])

    def finish(pixels: np.ndarray) -> np.ndarray:
        pixels = _all(steps, pixels)
        return adapted(pixels, settings.channels)[0] if role == "image" else pixels

    if role == "image" and (note := adapted(_all(steps, np.zeros((1, channels), dtype)), settings.channels)[1]):
        facts["read_as"] = (note,)
    return finish, facts


def _all(steps: list[Callable[[np.ndarray], np.ndarray]], pixels: np.ndarray) -> np.ndarray:
    for step in steps:
        pixels = step(pixels)
    return pixels


def _looked_up(look_up: Callable[[np.ndarray], np.ndarray], index: np.ndarray) -> np.ndarray:
    found = look_up(index[..., 0])
    return found[..., None] if found.ndim < index.ndim else found


class _Complaints(logging.Handler):
    """Collects the log messages of tifffile, in this thread, about missing or damaged pages."""

    _LOST = re.compile(r"TiffPages|missing|failed to|incomplete|metadata invalid|contains no pages")

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []
        self.thread_id = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if record.thread == self.thread_id and self._LOST.search(text):
            self.found.append(re.sub(r"<tifffile\.\S+ [^>]*> ", "", text)[:160])


@contextmanager
def tifffile_complaints() -> Iterator[list[str]]:
    """Collects the log messages of tifffile, in this thread, about missing or damaged pages."""
    logger, handler = logging.getLogger("tifffile"), _Complaints()
    logger.addHandler(handler)
    shown, logger.propagate = logger.propagate, False  # our own error reports them
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
        logger.propagate = shown
