"""Decodes image files: their pixels in one axis order, and the decisions made while reading (`FileFacts`).

The format is recognised by the first bytes of the file, not by its name. Every failure of a decoding library becomes an
InputError of one line, since it nearly always means a damaged file, which only the user can replace.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from .budget import check_memory
from .facts import DEFAULTS, FileFacts, ReadSettings, Role, with_pixel_size
from .formats.channels import adapted

if TYPE_CHECKING:
    from jaxtyping import Shaped

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".btf", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jpx"),
    *(".nii.gz", ".nii", ".svs", ".ndpi", ".scn", ".bif"),
)
"""Endings of image files in folders; the first bytes of a file decide its format."""

FROM_DICOM = "convert the series to NIfTI, for example with dcm2niix"

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PILLOW = {
    PNG_MAGIC: ("PNG",),
    b"\xff\xd8\xff": ("JPEG", "MPO"),
    b"BM": ("BMP",),
    b"GIF8": ("GIF",),
    b"RIFF": ("WEBP",),
    b"\0\0\0\x0cjP  ": ("JPEG2000",),
    b"\xff\x4f\xff\x51": ("JPEG2000",),
}
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
_LARGEST_RATIO = 5000  # maximum values per byte of a file; deflate reaches 1032 for a blank picture


def check_file(path: str | Path) -> Path:
    """The path as a Path. Raises InputError unless it is a regular file that is not empty."""
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


def is_tiff(path: Path) -> bool:
    """Whether a file begins like a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return begins_tiff(file.read(4))


def begins_tiff(head: bytes) -> bool:
    """Whether these are the first four bytes of a TIFF or BigTIFF."""
    return head in _TIFF_MAGIC


def decode(
    path: str | Path, role: Role = "image", settings: ReadSettings | None = None
) -> tuple[Shaped[np.ndarray, "n h w c"], FileFacts]:
    """Every picture of a file, with the stored values unless the settings change them.

    Args:
        path: the file.
        role: "label" reads a mask. A palette index is the class, but a palette with only greys is read as grey values,
            since image optimisers convert plain 0/255 masks to such palettes. 2- and 4-bit grey PNG files give their
            stored numbers, which Pillow would scale to 0..255.
        settings: see `ReadSettings`.

    Returns:
        (N, H, W, C), boolean, integer or floating, in native byte order; and the facts of the file.

    Raises:
        InputError: the file is missing, empty, damaged, of another format, or without pixels.
    """
    path, settings = check_file(path), settings or DEFAULTS
    try:
        with path.open("rb") as file:
            head = file.read(132)
        if formats := next((names for magic, names in _PILLOW.items() if head.startswith(magic)), None):
            from .formats.decode_pillow import decode_pillow

            pixels, facts = decode_pillow(path, head, formats, role, settings)
        elif head.startswith(_TIFF_MAGIC):
            from .formats.decode_tiff import decode_tiff

            pixels, facts = decode_tiff(path, role, settings)
        elif path.name.lower().endswith((".nii", ".nii.gz")):
            from .formats.decode_nifti import decode_nifti

            pixels, facts = decode_nifti(path)
        else:
            raise InputError(f"{path}: {_unknown(head)}")
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: is too large for the memory of this machine; cut it into smaller files") from None
    except Exception as error:  # the libraries raise nearly everything on damaged bytes: struct.error, KeyError, ...
        raise InputError(f"{path}: cannot be read, the file is damaged or incomplete ({one_line(error)})") from None
    if role == "image":
        pixels, note = adapted(pixels, settings.channels)
        facts = replace(facts, read_as=(*facts.read_as, note)) if note else facts
        facts = with_pixel_size(facts, settings.pixel_size)
    if pixels.size == 0:
        raise InputError(f"{path}: has no pixels (shape {pixels.shape}); replace it with a complete copy")
    if pixels.dtype.kind not in "buif":
        raise InputError(f"{path}: has {pixels.dtype} values; images must be integer or floating point")
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("=")), facts


def _unknown(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file itself; fetch the file (git lfs pull)"
    if head.startswith(b"/annex/") or b".git/annex" in head:
        return "is a git-annex pointer, not the file itself; fetch the file (git annex get)"
    if head[128:] == b"DICM":
        return f"is a DICOM file; {FROM_DICOM}"
    return "is not a PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or NIfTI file; convert it to one of them"


def one_line(error: Exception) -> str:
    """The type and the text of an exception in one line of at most 160 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 160 else text[:157] + "..."


def check_claim(path: Path, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuses, before memory is allocated, a size that the file cannot contain (see `check_ratio`) or that needs too
    much memory. `itemsize` is the number of bytes of a stored element of that shape."""
    check_ratio(path, shape, path.stat().st_size)
    needed = math.prod(shape) * (itemsize + min(itemsize, 4))  # the stored and the returned values
    check_memory(path, needed, path.stat().st_size)


def check_ratio(path: Path, shape: tuple[int, ...], stored: int) -> None:
    """Refuses a size that a file of `stored` bytes cannot contain, since a damaged field can claim terabytes."""
    if math.prod(shape) > _LARGEST_RATIO * stored:
        raise InputError(f"{path}: is damaged: {stored} bytes cannot contain an image of shape {shape}")
