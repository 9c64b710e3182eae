"""Reads and writes images: `read_image`, `read_stack`, `write_stack`.

Pixels are returned in one of three dtypes. It depends only on the file's dtype, not on its values, so that all files of
a series are treated in the same way:

    file                         here      values
    bool (1-bit)                 uint8     0 or 255
    uint8, uint16, float32       the same  the same
    int8, int16, float16         float32   the same, exactly
    float64                      float32   rounded
    (u)int32, (u)int64           float32   the same, exactly; refused beyond ±2**24, where float32 would round
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import replacing

from .carried import page_axes, tiff_metadata, tiff_tags
from .colours import colour
from .decode import decode
from .facts import PLAIN, FileFacts, ReadSettings, void

if TYPE_CHECKING:
    from jaxtyping import Shaped

WRITABLE_SUFFIXES = (".png", ".tif", ".tiff")
_EXACT_IN_FLOAT32 = 2**24


def read_stack(path: str | Path, settings: ReadSettings | None = None) -> Shaped[np.ndarray, "n h w c"]:
    """Reads every picture of a PNG, JPEG or TIFF file.

    By default, palettes become RGB, alpha is dropped without blending, the orientation tag is applied, and "white is
    zero" is inverted. `open_pictures` also returns these decisions.

    Args:
        path: the file; its format is recognised by its first bytes.
        settings: how files are read if there is a choice.

    Returns:
        (N, H, W, C) uint8, uint16 or float32 (see the table above). N counts the pages of a TIFF in file order (its Z,
        T and other axes, the last varying fastest); PNG and JPEG have N = 1. C is 1 for grey, 3 for colour; a TIFF may
        have any number of channels.

    Raises:
        InputError: the file is missing, a folder, damaged, of another format, empty, or has NaN or infinite values.

    Example:
        >>> from unet_data import read_stack, write_stack
        >>> write_stack("three.tif", np.zeros((3, 20, 30), np.uint16))
        >>> read_stack("three.tif").shape
        (3, 20, 30, 1)
    """
    stored, facts = decode(path, "image", settings)
    return as_image(stored, path, facts.nodata)


def read_image(path: str | Path, settings: ReadSettings | None = None) -> Shaped[np.ndarray, "h w c"]:
    """Reads the only picture of a file.

    Args:
        path, settings: as in `read_stack`.

    Returns:
        (H, W, C), otherwise as `read_stack`.

    Raises:
        InputError: as `read_stack`, and if a TIFF has several pages.

    Example:
        >>> from unet_data import read_image, write_stack
        >>> write_stack("one.png", np.zeros((1, 20, 30, 3), np.uint8))
        >>> read_image("one.png").shape
        (20, 30, 3)
    """
    stack = read_stack(path, settings)
    if len(stack) != 1:
        raise InputError(f"{path}: holds {len(stack)} pages; one image is expected; read it as a stack")
    return stack[0]


def write_stack(
    path: str | Path,
    array: Shaped[np.ndarray, "*shape"],
    facts: FileFacts = PLAIN,
    spatial_dims: int = 2,
    labels: bool = False,
) -> None:
    """Writes a TIFF (deflate, one page per picture) or, if N = 1, a PNG.

    `read_stack` returns the same array, bit for bit, as (N, H, W, C). The file is written atomically: under a temporary
    name beside the target, which is then renamed.

    Args:
        path: .tif, .tiff or .png.
        array: (N, H, W) or (N, H, W, C), uint8, uint16 or float32, finite. A PNG takes one channel (uint8, uint16) or
            three (uint8).
        facts: facts of the file from which the array was computed. A TIFF gets its georeference, resolution, pixel
            size, time and depth.
        spatial_dims: 3 if pages are the planes of volumes, one volume after the other.
        labels: whether numbers are classes. Then an 8-bit PNG shows each in a different colour, and `read_labels`
            returns the numbers.

    Raises:
        InputError: the suffix, shape or dtype is not supported, or the folder is missing or not writable.

    Example:
        >>> from unet_data import write_stack
        >>> write_stack("mask.png", np.zeros((1, 20, 30), np.uint8))
    """
    path, array = Path(path), np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise InputError(f"{path}: cannot write {suffix or 'a file without suffix'}; use one of .png, .tif, .tiff")
    if array.ndim not in (3, 4) or array.size == 0:
        raise InputError(
            f"{path}: cannot write shape {array.shape}; give (N, H, W) or (N, H, W, C), each length 1 or more"
        )
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        raise InputError(f"{path}: cannot write {array.dtype}; convert to uint8, uint16 or float32")
    _refuse_nonfinite(array, path)
    pixels = array[..., None] if array.ndim == 3 else array
    pixels = np.ascontiguousarray(pixels)
    if suffix == ".png":
        _check_png(path, pixels)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the path of a file")
    try:
        with replacing(path) as temporary:
            if suffix == ".png":
                _save_png(temporary, pixels[0], labels)
            else:
                _save_tiff(temporary, pixels, facts, spatial_dims)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None


def as_image(
    raw: Shaped[np.ndarray, "*shape"], path: str | Path, nodata: float | None = None
) -> Shaped[np.ndarray, "*shape"]:
    """Converts stored pixels to one of the three dtypes of the table above.

    Args:
        raw: decoded pixels.
        path: the file, for messages.
        nodata: the value for missing data that the file declares. It, and NaN, are then allowed and stay unchanged.

    Raises:
        InputError: no dtype can represent the values, or there are NaN or infinite ones.
    """
    if nodata is not None and raw.dtype.kind == "f" and (missing := void(raw, nodata)).any():
        limits = np.finfo(np.float32)
        result = as_image(np.where(missing, raw.dtype.type(0), raw), path)
        result[missing] = np.clip(nodata, limits.min, limits.max)
        return result
    kind, bits = raw.dtype.kind, raw.dtype.itemsize * 8
    if kind == "b":
        return raw.astype(np.uint8) * np.uint8(255)
    if kind == "u" and bits <= 16:
        return raw
    if kind == "f":
        _refuse_nonfinite(raw, path)
        if bits > 32 and np.abs(raw).max() > np.finfo(np.float32).max:
            raise InputError(f"{path}: holds values beyond the range of float32 (±3.4e38); rescale the image")
    elif bits > 16 and (int(raw.max()) > _EXACT_IN_FLOAT32 or int(raw.min()) < -_EXACT_IN_FLOAT32):
        raise InputError(
            f"{path}: holds {raw.dtype} values from {raw.min()} to {raw.max()}, beyond ±2**24; "
            "rescale the image to uint16 or float32"
        )
    return raw.astype(np.float32, copy=False)


def _refuse_nonfinite(array: np.ndarray, path: str | Path) -> None:
    if array.dtype.kind != "f":
        return
    nan, infinite = int(np.isnan(array).sum()), int(np.isinf(array).sum())
    if nan or infinite:
        raise InputError(f"{path}: has {nan} NaN and {infinite} infinite of {array.size} values; replace them first")


def _check_png(path: Path, pixels: np.ndarray) -> None:
    count, channels, dtype = len(pixels), pixels.shape[-1], pixels.dtype
    if count != 1:
        raise InputError(f"{path}: a PNG contains one image, not {count}; use .tif")
    if (channels, dtype.name) not in ((1, "uint8"), (1, "uint16"), (3, "uint8")):
        raise InputError(f"{path}: a PNG cannot store {channels} channel(s) of {dtype}; use .tif")


def _save_png(path: Path, pixels: np.ndarray, labels: bool) -> None:
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if labels and image.mode == "L":
        image.putpalette([value for number in range(256) for value in colour(number)])
    image.save(path, format="PNG")


def _save_tiff(path: Path, pixels: np.ndarray, facts: FileFacts, dims: int) -> None:
    import tifffile

    channels = pixels.shape[-1]
    # Without these options, tifffile would write (H, W, 2) as H pages, and a fourth channel as alpha.
    options: dict = {"photometric": "rgb" if channels == 3 else "minisblack"}
    if channels > 1:
        options["planarconfig"] = "contig"
    letters, lengths = page_axes(facts, len(pixels), dims)
    data = (pixels if channels > 1 else pixels[..., 0]).reshape(*lengths, *pixels.shape[1 : 4 if channels > 1 else 3])
    if len(pixels) == 1 and facts is not PLAIN:
        letters, data = "", data[0]
    kind, metadata = tiff_metadata(facts, f"{letters}YX" + "S" * (channels > 1), data.dtype)
    tifffile.imwrite(path, data, compression="zlib", metadata=metadata, **kind, **options, **tiff_tags(facts))
