"""Results of any size to a file: what `Mosaic` holds in tiles, written as one image without ever being in memory whole.

    .tif, .tiff   small: as `write_stack`; large: tiled (512 x 512, deflate), BigTIFF where it must be, with a pyramid
    .zarr         one array (v3), chunks of 512 x 512 or 64 x 64 x 64; needs the package zarr
    .npy          one array
    .png          what a PNG holds, if it fits into memory

Several images are one array with a first axis of their number, or pages of the TIFF. A result appears whole or not at
all: it is written under a temporary name and renamed.
"""

from __future__ import annotations

import math
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.images import write_stack
from unet_data.readers import import_zarr
from unet_data.stream_store import Mosaic, TileStore, telling_of_the_disk
from unet_spec.checkpoint import replacing
from unet_spec.errors import InputError

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".zarr")
WHOLE_BELOW = 2**26
"""Bytes up to which a result is written in one piece."""
_PNG_MOST = 2**31
_TILE, _CHUNK = 512, {2: 512, 3: 64}


def check_target(path: Path, overwrite: bool, dtype: np.dtype, values: tuple[int, ...], images: int, dims: int) -> None:
    """Raises InputError, before anything is computed, where `path` cannot become the result: so many images of `dims`
    axes with pixels of shape `values`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"cannot write {path}: use .tif or .png, .npy or .zarr")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; --overwrite replaces it")
    if path.is_dir() and suffix != ".zarr":
        raise InputError(f"{path}: is a folder; give the path of a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if suffix == ".zarr":
        import_zarr()
    pixel = (dtype.name, values)
    if suffix == ".png" and (images > 1 or dims > 2 or pixel not in (("uint8", ()), ("uint16", ()), ("uint8", (3,)))):
        what = f"{images} image{'s' * (images > 1)}" if dims == 2 else "a volume"
        raise InputError(f"{path}: PNG does not hold {what} of {' x '.join([*map(str, values), dtype.name])}; use .tif")


def write_mosaic(path: Path, store: TileStore) -> None:
    """Writes all images of a finished store. Raises InputError where the disk is full or the format cannot hold it."""
    suffix, parts = path.suffix.lower(), [store.mosaic(i) for i in range(store.images)]
    kept = f"; the finished tiles are kept in {store.folder}: make room and run the same command again"
    small = store.bytes_needed() <= WHOLE_BELOW
    with telling_of_the_disk(path, kept):
        if suffix == ".png" or (suffix in (".tif", ".tiff") and small and store.dtype != np.float16):
            _write_whole(path, parts)
        elif suffix == ".npy":
            with replacing(path) as temporary:
                _write_npy(temporary, parts)
        elif suffix == ".zarr":
            _write_zarr(path, parts)
        else:
            with replacing(path) as temporary:
                _write_tiff(temporary, parts)


def _shape(parts: list[Mosaic]) -> tuple[int, ...]:
    return parts[0].shape if len(parts) == 1 else (len(parts), *parts[0].shape)


def _write_whole(path: Path, parts: list[Mosaic]) -> None:
    if parts[0].store.bytes_needed() > _PNG_MOST:
        raise InputError(f"{path}: a PNG of {parts[0].shape} would have to fit into memory; use .tif or .zarr")
    size = parts[0].store.plan.image
    stack = np.stack([part.window((0,) * len(size), size) for part in parts])
    write_stack(path, stack.reshape(-1, *stack.shape[len(size) - 1 :]))  # volumes are pages, one after the other


def _rows(part: Mosaic) -> int:
    """Rows of the first axis that make some 16 MiB."""
    return max(1, 2**24 // max(1, int(np.prod(part.shape[1:], dtype=np.int64)) * part.dtype.itemsize))


def _write_npy(path: Path, parts: list[Mosaic]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(parts[0].dtype), "fortran_order": False, "shape": _shape(parts)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for part in parts:
            for band in part.bands(_rows(part)):
                file.write(band.tobytes())


def _write_zarr(path: Path, parts: list[Mosaic]) -> None:
    zarr = import_zarr()
    part, dims = parts[0], len(parts[0].store.plan.image)
    chunk = (*(min(_CHUNK[dims], n) for n in part.shape[:dims]), *part.shape[dims:])
    new = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.zarr")
    old = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.old")
    try:
        several = len(parts) > 1
        array = zarr.create_array(
            str(new), shape=_shape(parts), chunks=(1, *chunk) if several else chunk, dtype=part.dtype
        )
        for i, one in enumerate(parts):
            for start in np.ndindex(*(-(-n // c) for n, c in zip(one.shape[:dims], chunk, strict=False))):
                low = tuple(k * c for k, c in zip(start, chunk, strict=False))
                window = one.window(low, tuple(a + c for a, c in zip(low, chunk, strict=False)))
                at = tuple(slice(a, a + n) for a, n in zip(low, window.shape, strict=False))
                array[(i, *at) if several else at] = window
        if path.exists():
            path.rename(old)
        os.replace(new, path)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _write_tiff(path: Path, parts: list[Mosaic]) -> None:
    """Level k of the pyramid holds every 2^k-th pixel: labels cannot be averaged. For viewers; ours read level 0."""
    import tifffile

    part, dims = parts[0], len(parts[0].store.plan.image)
    channels = part.shape[dims] if len(part.shape) > dims else 0
    options: dict[str, Any] = {
        "dtype": part.dtype,
        "tile": (_TILE, _TILE),
        "compression": "zlib",
        "compressionargs": {"level": 1},
        "photometric": "minisblack",
        **({"planarconfig": "contig"} if channels else {}),
    }
    height, width = part.shape[dims - 2 : dims]
    levels = 0
    while dims == 2 and len(parts) == 1 and max(height, width) >> levels > 2 * _TILE:
        levels += 1
    pages = len(parts) * math.prod(part.shape[: dims - 2])
    axes = (("Z" if dims == 3 else "Q") if pages > 1 else "") + "YX" + ("S" if channels else "")
    with tifffile.TiffWriter(path, bigtiff=part.store.bytes_needed() > 2**31) as tiff:
        for level in range(levels + 1):
            step = 2**level
            size = (-(-height // step), -(-width // step), *([channels] if channels else []))
            shape = (pages, *size) if pages > 1 else size
            more: dict[str, Any] = {"subifds": levels} if level == 0 else {"subfiletype": 1}
            if level == 0:
                more["metadata"] = {"axes": axes}
            tiff.write(_tiles(parts, step), shape=shape, **options, **more)


def _tiles(parts: list[Mosaic], step: int) -> Iterator[np.ndarray]:
    """512 x 512 tiles in reading order, page after page, filled up with zeros at the right and lower edges."""
    dims = len(parts[0].store.plan.image)
    for part in parts:
        for depth in range(part.shape[0]) if dims == 3 else (None,):
            height, width = part.shape[dims - 2 : dims]
            for top in range(0, height, _TILE * step):
                for left in range(0, width, _TILE * step):
                    low, high = (top, left), (top + _TILE * step, left + _TILE * step)
                    if depth is None:
                        window = part.window(low, high, step)
                    else:
                        window = part.window((depth, *low), (depth + 1, *high))[0]
                    missing = [(0, _TILE - n) for n in window.shape[:2]] + [(0, 0)] * (window.ndim - 2)
                    yield np.pad(window, missing)
