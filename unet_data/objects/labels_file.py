"""Writes labels of objects. A TIFF with up to 65535 objects has a colour table, with which Fiji displays them."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError
from unet_spec.files import replacing, write_errors_as_input_error

from ..io.carried import counted_axes, imagej_scale, tiff_metadata, tiff_tags
from ..io.facts import PLAIN, FileFacts
from ..io.writers import WHOLE_BELOW, write_windows
from ..windows import Windows
from .streaming import LabelImage

if TYPE_CHECKING:
    from jaxtyping import UInt8


@dataclass(frozen=True)
class _Typed:
    """Labels converted to a dtype."""

    labels: LabelImage
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.labels.shape

    @property
    def spatial_dims(self) -> int:
        return len(self.shape)

    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        return self.labels.window(start, stop, step).astype(self.dtype)


def write_labels(path: Path, pages: Sequence[LabelImage], note: str = "", facts: FileFacts = PLAIN) -> np.dtype:
    """Writes the labels of one or more images of one size: uint16 up to 65535 objects, else uint32.

    Args:
        path: .tif, .png, .npy, .zarr, .nii or .nii.gz.
        pages: the images.
        note: end of the message for a full disk.
        facts: facts of the file of the images. The labels get its georeference, pixel size, time and depth.

    Raises:
        InputError: the disk is full, or a PNG cannot store the numbers.
    """
    count = max(page.count for page in pages)
    dtype = np.dtype(np.uint16 if count <= 65535 else np.uint32)
    if path.suffix.lower() == ".png" and dtype != np.uint16:
        raise InputError(f"{path}: a PNG can number at most 65535 objects, but there are {count}; use .tif")
    images: list[Windows] = [_Typed(page, dtype) for page in pages]
    small = len(pages) * math.prod(pages[0].shape) * dtype.itemsize <= WHOLE_BELOW
    if path.suffix.lower() in (".tif", ".tiff") and small:
        reported = partial(write_errors_as_input_error, path, note)
        with reported(), replacing(path) as temporary, reported():
            _write_tiff(temporary, images, count, facts)
    else:
        write_windows(path, images, note, facts)
    return dtype


def _write_tiff(path: Path, images: Sequence[Windows], count: int, facts: FileFacts) -> None:
    import tifffile

    stack = np.stack([image.window((0,) * image.spatial_dims, image.shape) for image in images])
    dims, plane = images[0].spatial_dims, stack.shape[-2:]
    pages = math.prod(stack.shape[:-2])
    letters, lengths = counted_axes(facts, pages, dims) or (("TZ", "T")[dims == 2], stack.shape[:-2])
    counted = [(letter, n) for letter, n in zip(letters, lengths, strict=True) if n > 1 or letter == "Z"]
    axes = "".join(letter for letter, _ in counted) + "YX"
    stack = stack.reshape(*(n for _, n in counted), *plane)
    kind, metadata = tiff_metadata(facts, axes, stack.dtype)
    tags, other = tiff_tags(facts), {"ome", "geotiff"} & set(dict(facts.extra))
    if stack.dtype == np.uint16 and not other and axes != "ZTYX":  # ImageJ's integers have at most 16 bits
        if "ome" in kind:  # for its pixel size, which ImageJ's kind of TIFF can store, too
            scale, tags = imagej_scale(facts)
            metadata = {"axes": axes} | scale
        kind = {"imagej": True}
        metadata |= {"LUTs": [colours()], "min": 0.0, "max": float(max(count, 1)), "mode": "color"}
    # Without photometric, tifffile would write three pages as red, green and blue.
    options: dict = {"photometric": "minisblack", "compression": "zlib", **kind, **tags}
    tifffile.imwrite(path, stack, metadata=metadata, **options)


def colours() -> UInt8[np.ndarray, "3 256"]:
    """A colour table: black, then bright colours; neighbours in the table differ strongly."""
    table = np.zeros((3, 256), np.uint8)
    for i in range(1, 256):
        hue, value, strength = i * 0.618034 % 1, (1.0, 0.8, 0.9)[i % 3], (0.9, 0.65, 0.5, 0.8)[i % 4]
        table[:, i] = [round(255 * c) for c in colorsys.hsv_to_rgb(hue, strength, value)]
    return table
