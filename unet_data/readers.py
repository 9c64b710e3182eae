"""Pictures that are read by windows: an image of any size, of which only what is asked for is in memory.

    TIFF, BigTIFF, OME-TIFF     tile by tile or strip by strip; the full resolution of a pyramid
    .npy                        mapped, window by window
    .zarr (v2, v3, OME-Zarr)    chunk by chunk; needs the package zarr
    PNG, JPEG, small TIFF       read whole, by `read_stack`

A file holds one or more pictures of one size. Values are what `read_stack` makes of them (see `images`), windows are
checked as they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.decode import check_file, decode
from unet_data.images import _as_image
from unet_spec.errors import InputError

WHOLE_BELOW = 2**28
"""Bytes of pixels up to which a TIFF is read in one piece, as `read_stack` does with every check that it makes."""

Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Picture:
    """An image (*spatial, C) that is read by windows: indexed by one slice (without step) per spatial axis.

    Attributes:
        shape: (*spatial, C).
        read: from slices with known ends, one per spatial axis, to the stored pixels (*window, C).
        where: the file, for messages.
    """

    shape: tuple[int, ...]
    read: Callable[[Slices], np.ndarray]
    where: str

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Slices) -> np.ndarray:
        """The pixels (*window, C), uint8, uint16 or float32. Raises InputError: damaged, NaN or infinite values."""
        ends = [s.indices(n)[:2] for s, n in zip(window, self.shape, strict=False)]
        try:
            pixels = self.read(tuple(slice(*e) for e in ends))
        except InputError:
            raise
        except Exception as e:  # the libraries raise nearly everything on damaged bytes
            at = ", ".join(f"{a}:{b}" for a, b in ends)
            raise InputError(f"{self.where}: the window [{at}] cannot be read; the file is damaged ({e})") from None
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return _as_image(native, self.where) if native.size else native


def is_zarr(path: Path) -> bool:
    """By its name, or by what lies in it."""
    return path.suffix == ".zarr" or (path.is_dir() and any((path / n).exists() for n in ("zarr.json", ".zarray")))


def open_pictures(path: str | Path, spatial_dims: int, channels: int, whole_below: int = WHOLE_BELOW) -> list[Picture]:
    """The pictures of a file, all of one shape (*spatial, C).

    A 2-D network sees each page of a TIFF as a picture, a 3-D network sees the pages as one volume. Arrays (.npy,
    .zarr) are (*spatial), (*spatial, C), (C, *spatial) where that fits `channels`, or (N, *spatial) and (N, *spatial,
    C); OME-Zarr says itself what its axes are.

    Raises InputError where the file is missing, damaged, cut short, of another format, or has other axes or channels.
    """
    path = Path(path)
    if is_zarr(path):
        pictures = _open_zarr(path, spatial_dims, channels)
    elif path.suffix == ".npy":
        pictures = _open_npy(path, spatial_dims, channels)
    else:
        pictures = _open_tiff(path, spatial_dims, whole_below)
        if pictures is None:
            pictures = _as_pictures(_as_image(decode(path), path), spatial_dims, str(path))
    found = pictures[0].shape[-1]
    if found != channels:
        raise InputError(
            f"{path}: has {found} channel{'s' * (found > 1)} (shape {pictures[0].shape}); the network takes {channels}"
        )
    return pictures


def _as_pictures(stack: np.ndarray, spatial_dims: int, where: str) -> list[Picture]:
    """Of a stack (N, H, W, C) in memory."""
    images = stack if spatial_dims == 2 else stack[None]
    return [Picture(image.shape, image.__getitem__, where) for image in images]


def _open_tiff(path: Path, spatial_dims: int, whole_below: int) -> list[Picture] | None:
    """By windows; None where the file is no TIFF, or small enough for the ordinary way, or too odd for this one."""
    from unet_data.readers_tiff import is_tiff, open_tiff

    check_file(path)
    if not is_tiff(path):
        return None
    read, shape = open_tiff(path, whole_below)
    if read is None:
        return None
    count, *plane = shape

    def page(number: int) -> Callable[[Slices], np.ndarray]:
        return lambda window: read(number, window)

    if spatial_dims == 2:
        return [Picture(tuple(plane), page(i), str(path)) for i in range(count)]

    def volume(window: Slices) -> np.ndarray:
        return np.stack([read(i, window[1:]) for i in range(window[0].start, window[0].stop)])

    return [Picture(tuple(shape), volume, str(path))]


def _open_npy(path: Path, spatial_dims: int, channels: int) -> list[Picture]:
    check_file(path)
    try:
        header = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as e:
        raise InputError(f"{path}: cannot be read, no .npy file or cut short ({e})") from None

    def read(index: tuple[Any, ...]) -> np.ndarray:
        # Mapped anew for each window: pages of a mapping that stays open add up to the whole file in memory.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[index])

    return _arranged(header.shape, header.dtype, read, None, spatial_dims, channels, path)


def _open_zarr(path: Path, spatial_dims: int, channels: int) -> list[Picture]:
    zarr = import_zarr()
    if not path.is_dir():
        raise InputError(f"{path}: no such folder")
    try:
        node = zarr.open(str(path), mode="r")
        axes = None
        if hasattr(node, "keys"):  # a group: OME-Zarr keeps its largest level first
            attributes = dict(node.attrs)
            scales = attributes.get("ome", attributes).get("multiscales")
            if not scales:
                raise InputError(f"{path}: is a zarr group without OME metadata; give the path of one array in it")
            axes = [a["name"] if isinstance(a, dict) else a for a in scales[0].get("axes", ())] or None
            node = node[scales[0]["datasets"][0]["path"]]
        return _arranged(node.shape, node.dtype, node.__getitem__, axes, spatial_dims, channels, path)
    except InputError:
        raise
    except Exception as e:  # zarr's errors share no base class
        raise InputError(f"{path}: cannot be read as zarr ({type(e).__name__}: {e})") from None


def import_zarr() -> Any:
    """The package zarr. Raises InputError where it is not installed."""
    try:
        import zarr
    except ModuleNotFoundError:
        raise InputError("zarr is not installed; pip install 'unet-twins[zarr]'") from None
    return zarr


def _arranged(
    shape: tuple[int, ...],
    dtype: np.dtype,
    read: Callable[[tuple[Any, ...]], np.ndarray],
    axes: Sequence[str] | None,
    dims: int,
    channels: int,
    path: Path,
) -> list[Picture]:
    """Pictures of an array whose axes lie in some order."""
    if dtype.kind not in "buif":
        raise InputError(f"{path}: holds {dtype} values; images must be integer or floating point")
    if not math.prod(shape):
        raise InputError(f"{path}: holds no pixels (shape {shape})")
    names = tuple(axes) if axes else _guess(shape, dims, channels, path)
    spatial = ("z", "y", "x")[-dims:]
    counted = [i for i, name in enumerate(names) if name not in (*spatial, "c")]
    if len(names) != len(shape) or any(name not in names for name in spatial):
        raise InputError(f"{path}: has axes {''.join(names)} of shape {shape}; expected {''.join(spatial)} among them")
    place = {name: names.index(name) for name in spatial}
    channel = names.index("c") if "c" in names else None
    size = tuple(shape[place[name]] for name in spatial)
    depth = 1 if channel is None else shape[channel]

    def picture(fixed: tuple[int, ...]) -> Picture:
        def window(slices: Slices) -> np.ndarray:
            index: list[Any] = [slice(None)] * len(shape)
            for i, value in zip(counted, fixed, strict=True):
                index[i] = slice(int(value), int(value) + 1)
            for name, s in zip(spatial, slices, strict=True):
                index[place[name]] = s
            pixels = np.asarray(read(tuple(index)))
            order = [*counted, *(place[name] for name in spatial), *([] if channel is None else [channel])]
            return pixels.transpose(order).reshape(*(s.stop - s.start for s in slices), depth)

        return Picture((*size, depth), window, str(path))

    return [picture(fixed) for fixed in np.ndindex(*(shape[i] for i in counted))]


def _guess(shape: tuple[int, ...], dims: int, channels: int, path: Path) -> tuple[str, ...]:
    """Names for the axes of an array that has none."""
    spatial = ("z", "y", "x")[-dims:]
    if len(shape) == dims:
        return spatial
    if len(shape) == dims + 1 and shape[-1] == channels:
        return (*spatial, "c")
    if len(shape) == dims + 1 and shape[0] == channels:
        return ("c", *spatial)
    if len(shape) == dims + 1 and channels == 1:
        return ("n", *spatial)
    if len(shape) == dims + 2:
        return ("n", *spatial, "c")
    raise InputError(
        f"{path}: an array of shape {shape} is no {dims}-D image with {channels} channel{'s' * (channels > 1)};"
        f" expected ({', '.join(spatial)}), ({', '.join(spatial)}, c) or (c, {', '.join(spatial)})"
    )
