"""Files to pixels: what a PNG, JPEG or TIFF holds, in one axis order, before anything is decided about its values.

The format is recognised by the first bytes of the file, never by its name. Every failure of a decoding library comes
out as one line of InputError, because a damaged file is the user's to replace and not ours to debug.
"""

import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_JPEG_MAGIC = b"\xff\xd8\xff"
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_LARGEST_RATIO = 5000  # of values to file bytes; deflate reaches 1032 on a blank picture
_ALPHA = {1, 2}  # TIFF ExtraSamples: associated and unassociated alpha


def check_file(path: str | Path) -> Path:
    """The path as a Path, if a file that is not empty lies there; else InputError."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of one image file (or open the folder as a data set)")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file; give the path of an image file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes); replace it with a complete copy")
    return path


def decode(path: str | Path, labels: bool = False) -> np.ndarray:
    """Every picture of a file, as stored: (N, H, W, C), boolean, integer or floating, native byte order.

    Alpha is dropped: the colours stay as stored, not blended onto a background. EXIF rotation is not applied. TIFF
    pictures marked "white is zero" are inverted, so that larger always means brighter. A colour palette becomes RGB
    (uint8), except for `labels`, where the palette index is the class; a palette of greys only is read as its greys,
    since image optimisers turn plain 0/255 masks into such palettes. For `labels`, 2- and 4-bit grey PNG keep their
    stored numbers, which Pillow would stretch to 0..255.

    Raises InputError for a file that is missing, empty, damaged, of another format, or without pixels.
    """
    path = check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(26)
        if head.startswith((_PNG_MAGIC, _JPEG_MAGIC)):
            pixels = _decode_pillow(path, head, labels)
        elif head.startswith(_TIFF_MAGIC):
            pixels = _decode_tiff(path, labels)
        else:
            raise InputError(f"{path}: is not a PNG, JPEG or TIFF file; convert it to one of them")
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: is too large for the memory of this machine; cut it into smaller files") from None
    except Exception as error:  # the libraries raise nearly everything on damaged bytes: struct.error, KeyError, ...
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({_one_line(error)})") from None
    if pixels.size == 0:
        raise InputError(f"{path}: holds no pixels (shape {pixels.shape}); replace it with a complete copy")
    if pixels.dtype.kind not in "buif":
        raise InputError(f"{path}: holds {pixels.dtype} values; images must be integer or floating point")
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _one_line(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 160 else text[:157] + "..."


def _check_claim(path: Path, shape: tuple[int, ...]) -> None:
    """Refuses a size that the file cannot hold, before memory is asked for: one damaged field can claim terabytes."""
    there = path.stat().st_size
    if math.prod(shape) > _LARGEST_RATIO * there:
        raise InputError(f"{path}: cannot be read, {there} bytes cannot hold a picture of shape {shape}; it is damaged")


def _decode_pillow(path: Path, head: bytes, labels: bool) -> np.ndarray:
    from PIL import Image

    depth, colour_type = (head[24], head[25]) if head.startswith(_PNG_MAGIC) else (8, None)
    if depth == 16 and colour_type != 0:
        raise InputError(f"{path}: is a 16-bit colour PNG, which would lose half its bits here; save it as TIFF")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a large slide is not an attack
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise InputError(f"{path}: is an animation; save its pictures as separate files or as a TIFF stack")
            _check_claim(path, (image.height, image.width))
            image.load()
            mode = image.mode
            if mode in ("P", "PA") and labels:
                palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
                pixels = _labels_from_palette(np.asarray(image.getchannel(0)), palette)
            elif mode in ("P", "PA"):
                pixels = np.asarray(image.convert("RGBA"))[..., :3]
            elif mode in ("LA", "RGBA"):
                pixels = np.asarray(image)[..., :-1]
            elif mode in ("1", "L", "RGB", "I", "I;16", "I;16B"):
                pixels = np.asarray(image)
            else:
                raise InputError(f"{path}: has colour mode {mode}; convert it to grey or RGB")
    if mode == "I":  # how Pillow before 11 hands out 16-bit grey PNG
        pixels = pixels.astype(np.uint16)
    if labels and colour_type == 0 and depth in (2, 4):
        pixels = pixels // (255 // (2**depth - 1))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return pixels[None]


def _labels_from_palette(index: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Class numbers from palette indices; palette (P, 3) uint8. See `decode` for the rule."""
    grey = bool((palette == palette[:, :1]).all())
    return palette[index, 0] if grey and len(palette) > index.max() else index


def _decode_tiff(path: Path, labels: bool) -> np.ndarray:
    import tifffile

    with _tifffile_complaints() as complaints, tifffile.TiffFile(path) as tiff:
        parts = [_decode_series(path, series, labels) for series in tiff_series(tiff)]
    # A TIFF cut short between two pages reads without an exception, with the missing pages absent or zero.
    if complaints:
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({complaints[0]})")
    if not parts:
        raise InputError(f"{path}: holds no pictures; replace it with a complete copy")
    shapes = sorted({f"{part.shape[2]}x{part.shape[1]}x{part.shape[3]} {part.dtype}" for part in parts})
    if len(shapes) > 1:
        raise InputError(f"{path}: holds pictures of different kinds ({', '.join(shapes)}); save each in its own file")
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def tiff_series(tiff: Any) -> list[Any]:
    """The series of a TiffFile, as `full_axes` takes them; none where it has no pages."""
    if not len(tiff.pages):
        return []
    if isinstance(tiff.series, list):  # before tifffile 2026.5
        return tiff.series
    return list(tiff.series(squeeze=False))


def full_axes(series: Any) -> tuple[str, tuple[int, ...]]:
    """Axes and shape of one of `tiff_series`, axes of length 1 among them."""
    if hasattr(series, "get_axes"):  # before tifffile 2026.5
        return series.get_axes(squeeze=False), series.get_shape(squeeze=False)
    return series.axes, series.shape


def _decode_series(path: Path, series: Any, labels: bool) -> np.ndarray:
    """One tifffile series as (N, H, W, C): Y and X are H and W, S or C is the channel, all else is counted by N."""
    import tifffile

    page = series.keyframe
    axes, shape = full_axes(series)
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise InputError(f"{path}: has axes {axes} of shape {shape}; a picture needs one Y and one X axis")
    channel = [i for i, letter in enumerate(axes) if letter in "SC"]
    if sum(shape[i] > 1 for i in channel) > 1:
        raise InputError(f"{path}: has two channel axes ({axes}, shape {shape}); save it with one")
    _check_claim(path, shape)
    rows, columns = axes.index("Y"), axes.index("X")
    counted = [i for i in range(len(axes)) if i not in (rows, columns, *channel)]
    try:
        stored = series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        name = getattr(page.compression, "name", page.compression)
        raise InputError(
            f"{path}: is compressed with {name}, which needs the package imagecodecs (pip install imagecodecs)"
        ) from None
    pixels = stored.reshape(shape).transpose(*counted, rows, columns, *channel)
    channels = int(np.prod([shape[i] for i in channel], dtype=np.int64))
    pixels = pixels.reshape(-1, shape[rows], shape[columns], channels) if pixels.size else pixels

    # tifffile reports an absent tag as 0, which would mean "white is zero".
    tag = page.tags.get("PhotometricInterpretation")
    photometric = tifffile.PHOTOMETRIC(tag.value) if tag is not None else tifffile.PHOTOMETRIC.MINISBLACK
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE and pixels.dtype.kind in "bu":
        pixels = np.invert(pixels)
    elif photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        palette = (np.asarray(page.colormap).T >> 8).astype(np.uint8)
        pixels = _labels_from_palette(pixels, palette) if labels else palette[pixels[..., 0]]
    elif photometric.name in ("SEPARATED", "CIELAB", "ICCLAB", "ITULAB", "CFA", "LOGL", "LOGLUV"):
        raise InputError(f"{path}: has colours of kind {photometric.name}; convert it to grey or RGB")
    extra = page.extrasamples
    if extra and pixels.shape[-1] > len(extra):
        first = pixels.shape[-1] - len(extra)
        keep = [*range(first), *(first + i for i, kind in enumerate(extra) if int(kind) not in _ALPHA)]
        pixels = pixels[..., keep]
    return pixels


class _Complaints(logging.Handler):
    """Collects what tifffile says, in this thread, about pages that it could not find."""

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
def _tifffile_complaints() -> Iterator[list[str]]:
    logger, handler = logging.getLogger("tifffile"), _Complaints()
    logger.addHandler(handler)
    try:
        yield handler.found
    finally:
        logger.removeHandler(handler)
