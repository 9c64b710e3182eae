"""Writes images of any size to a file, window by window, so that they are never in memory as a whole.

    .tif, .tiff   small: as `write_stack`; large: tiled (512 x 512, deflate), BigTIFF if necessary, with a pyramid
    .zarr         one array (v3), or an OME-Zarr if the image is one; chunks of 512 x 512 or 64 x 64 x 64; needs zarr
    .ome.zarr     an OME-Zarr for any image; image.zarr/labels/NAME: a label image of that OME-Zarr
    .nii, .nii.gz one volume, or several along the fourth axis; needs the package nibabel
    .npy          one array
    .png          dtypes and channels that PNG supports, if the image fits into memory

Several images become the first axis of one array, or pages of the TIFF. Results are written atomically: under a
temporary name, which is then renamed. A .zarr can also be a URL, see `stores.remote`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import replacing, replacing_folder, write_errors_as_input_error

from ..windows import Windows
from .carried import page_axes, tiff_metadata, tiff_tags
from .facts import PLAIN, FileFacts
from .formats import encode_nifti
from .formats.encode_zarr import add_label, check_own_zarr, import_zarr, labelled_image, write_zarr
from .images import write_stack
from .stores import remote
from .stores.open_zarr import multiscales, ome_attributes
from .stores.remote import shown, url_of

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".zarr", *encode_nifti.ENDINGS)
WHOLE_BELOW = 2**26
"""Bytes up to which a result is written in one piece."""
_PNG_MAX = 2**31
_TILE = 512


def ending(path: Path) -> str:
    """The ending that states the format, in lower case: ".nii.gz" for "a.nii.gz", ".zarr" for a label image."""
    if labelled_image(path) is not None:
        return ".zarr"
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def check_target(path: Path, overwrite: bool, dtype: np.dtype, values: tuple[int, ...], images: int, dims: int) -> None:
    """Checks, before anything is computed, that a result can be written to `path`.

    Args:
        path: the file.
        overwrite: whether it may exist.
        dtype, values: dtype and shape of a pixel: () for one value, (K,) for several.
        images: number of images.
        dims: number of spatial axes of an image.

    Raises:
        InputError: the result cannot be written.
    """
    suffix = ending(path)
    if suffix not in SUFFIXES:
        raise InputError(f"cannot write {shown(path)}: use .tif or .png, .npy, .zarr or .nii.gz")
    if far := url_of(path) is not None:
        _check_remote(path, suffix)
    if (exists := remote.exists(path)) and not overwrite:
        raise InputError(f"{shown(path)} exists; --overwrite replaces it")
    if suffix == ".zarr" and exists:
        check_own_zarr(path)
    if path.is_dir() and suffix != ".zarr":
        raise InputError(f"{path}: is a folder; give the path of a file")
    if (image := labelled_image(path)) is not None:
        _check_label(path, image, dtype, values)
    elif not far and not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if suffix == ".zarr":
        import_zarr()
    if suffix in encode_nifti.ENDINGS:
        encode_nifti.import_nibabel()
    pixel = (dtype.name, values)
    if suffix == ".png" and (images > 1 or dims > 2 or pixel not in (("uint8", ()), ("uint16", ()), ("uint8", (3,)))):
        what = f"{images} image{'s' * (images > 1)}" if dims == 2 else "a volume"
        raise InputError(
            f"{path}: a PNG cannot store {what} of {' x '.join([*map(str, values), dtype.name])}; use .tif"
        )


def _check_remote(path: Path, suffix: str) -> None:
    if suffix != ".zarr":
        raise InputError(f"cannot write {shown(path)}: results at a URL must be .zarr")
    remote.check_writable(path)


def _check_label(path: Path, image: Path, dtype: np.dtype, values: tuple[int, ...]) -> None:
    """Raises InputError if a result cannot be stored as a label image of an OME-Zarr."""
    if values or dtype.kind not in "ui":
        raise InputError(f"{shown(path)}: a label image contains class or object numbers, one per pixel")
    if not multiscales(ome_attributes(image)):
        raise InputError(f"{shown(image)}: is not an image of an OME-Zarr, so {path.name} cannot be its labels")


def check_not_input(target: Path, sources: Iterable[Path]) -> None:
    """Raises InputError if `target` is one of the files that are read, also through links."""
    check_no_inputs([target], sources)


def check_no_inputs(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """As `check_not_input` of each target; its time is proportional to the number of files, not to its square."""
    places: dict[Path, Path] = {}
    files: dict[tuple[int, int], Path] = {}
    folders: dict[Path, Path] = {}
    for source in sources:
        places[source.resolve()] = source
        if (identity := _identity(source)) is not None:
            files[identity] = source
        if source.is_dir():
            folders[source.resolve()] = source
    for target in targets:
        place, identity = target.resolve(), _identity(target)
        if source := places.get(place) or (files.get(identity) if identity else None):
            raise InputError(f"{target} is the image {source} itself; choose another name for the result")
        inside = () if labelled_image(target) is not None or not folders else place.parents
        if source := next((folders[parent] for parent in inside if parent in folders), None):
            raise InputError(f"{target} lies in the image {source}; choose another name for the result")


def _identity(path: Path) -> tuple[int, int] | None:
    """What is equal of two paths to one file; None if there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def write_windows(
    path: Path, images: Sequence[Windows], note: str = "", facts: FileFacts = PLAIN, labels: bool = False
) -> None:
    """Writes images of one shape and dtype, window by window.

    Args:
        path: the file; its suffix states the format.
        images: one or several.
        note: end of the message for a full disk, about the finished work.
        facts: facts of the file from which the images were computed, see `write_stack`.
        labels: whether they are class numbers, see `write_stack`.

    Raises:
        InputError: the disk is full, or the format cannot store the images.
    """
    suffix = ending(path)
    small = _bytes(images) <= WHOLE_BELOW
    write: Callable[[Path, Sequence[Windows]], None]
    if suffix == ".png" or (suffix in (".tif", ".tiff") and small and images[0].dtype != np.float16):
        write = partial(_write_whole, facts=facts, labels=labels)
        replaced: AbstractContextManager[Path] = nullcontext(path)  # `write_stack` replaces the file
    elif suffix == ".zarr":
        write = partial(write_zarr, facts=facts, target=path)
        replaced = replacing_folder(path) if url_of(path) is None else _replaced_remote(path)
    elif suffix in encode_nifti.ENDINGS:
        compressed = suffix.endswith(".gz")
        write = partial(encode_nifti.write_nifti_windows, facts=facts, compressed=compressed)
        replaced = replacing(path)
    else:
        write, replaced = _write_npy if suffix == ".npy" else partial(_write_tiff, facts=facts), replacing(path)
    reported = partial(write_errors_as_input_error, path, note)
    with reported(), replaced as temporary, reported():  # writing can fail, and renaming
        write(temporary, images)
    if labelled_image(path) is not None:
        add_label(path)


@contextmanager
def _replaced_remote(path: Path) -> Iterator[Path]:
    """Removes an older result at the path and gives the path."""
    with remote.reported(path, "written"):
        remote.remove(path)
        yield path


def _bytes(images: Sequence[Windows]) -> int:
    return len(images) * math.prod(images[0].shape) * images[0].dtype.itemsize


def _shape(images: Sequence[Windows]) -> tuple[int, ...]:
    return images[0].shape if len(images) == 1 else (len(images), *images[0].shape)


def _write_whole(path: Path, images: Sequence[Windows], facts: FileFacts, labels: bool) -> None:
    if _bytes(images) > _PNG_MAX:
        raise InputError(f"{path}: a PNG of {images[0].shape} would have to fit into memory; use .tif or .zarr")
    size = images[0].shape[: images[0].spatial_dims]
    stack = np.stack([image.window((0,) * len(size), size) for image in images])
    stack = stack.reshape(-1, *stack.shape[len(size) - 1 :])  # volumes are pages, one after the other
    write_stack(path, stack, facts, len(size), labels)


def _write_npy(path: Path, images: Sequence[Windows]) -> None:
    image, dims = images[0], images[0].spatial_dims
    header = {"descr": np.lib.format.dtype_to_descr(image.dtype), "fortran_order": False, "shape": _shape(images)}
    rows = max(1, 2**24 // max(1, math.prod(image.shape[1:]) * image.dtype.itemsize))  # some 16 MiB
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, header)
        for image in images:
            for top in range(0, image.shape[0], rows):
                band = image.window((top, *(0,) * (dims - 1)), (top + rows, *image.shape[1:dims]))
                file.write(band.tobytes())


def _write_tiff(path: Path, images: Sequence[Windows], facts: FileFacts) -> None:
    """Writes a TIFF with a pyramid for viewers. Level k has every 2^k-th pixel, since labels cannot be averaged."""
    import tifffile

    part, dims = images[0], images[0].spatial_dims
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
    while dims == 2 and len(images) == 1 and max(height, width) >> levels > 2 * _TILE:
        levels += 1
    pages = len(images) * math.prod(part.shape[: dims - 2])
    letters, lengths = page_axes(facts, pages, dims)
    axes = (letters if pages > 1 else "") + "YX" + ("S" if channels else "")
    kind, metadata = tiff_metadata(facts, axes, part.dtype, tiled=True)
    with tifffile.TiffWriter(path, bigtiff=_bytes(images) > 2**31, **kind) as tiff:
        for level in range(levels + 1):
            step = 2**level
            size = (-(-height // step), -(-width // step), *([channels] if channels else []))
            shape = (*lengths, *size) if pages > 1 else size
            more: dict[str, Any] = {"subifds": levels} if level == 0 else {"subfiletype": 1}
            if level == 0:
                more |= {"metadata": metadata, **tiff_tags(facts)}
            tiff.write(_tiles(images, step), shape=shape, **options, **more)


def _tiles(images: Sequence[Windows], step: int) -> Iterator[np.ndarray]:
    """512 x 512 tiles in row-major order, page by page, padded with zeros at the right and lower edges."""
    dims = images[0].spatial_dims
    for part in images:
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
