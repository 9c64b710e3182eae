"""Images in, images out: `read_image`, `read_stack`, `write_stack`.

Pixels come in one of three dtypes, by the dtype of the file alone (never by its values, so that all files of one
series are treated alike):

    file                         here      values
    bool (1-bit)                 uint8     0 or 255
    uint8, uint16, float32       the same  the same
    int8, int16, float16         float32   the same, exactly
    float64                      float32   rounded
    (u)int32, (u)int64           float32   the same, exactly; refused beyond ±2**24, where float32 would round
"""

import os
from pathlib import Path

import numpy as np

from unet_spec.errors import InputError

from .decode import decode

WRITABLE_SUFFIXES = (".png", ".tif", ".tiff")
_EXACT_IN_FLOAT32 = 2**24


def read_stack(path: str | Path) -> np.ndarray:
    """Every picture of a PNG, JPEG or TIFF file: (N, H, W, C), uint8, uint16 or float32 (see the table above).

    N counts the pages of a TIFF in file order (its Z, T and other axes, the last varying fastest); PNG and JPEG have
    N = 1. C is 1 for grey, 3 for colour; a TIFF may have any number of channels. Palettes become RGB, alpha is dropped
    without blending, EXIF rotation is not applied. Float values must be finite.

    Raises InputError for a file that is missing, a folder, damaged, of another format, empty, or has NaN or infinity.
    """
    return _as_image(decode(path), path)


def read_image(path: str | Path) -> np.ndarray:
    """The only picture of a file: (H, W, C), otherwise as `read_stack`.

    Raises InputError also where a TIFF has several pages, naming how many.
    """
    stack = read_stack(path)
    if len(stack) != 1:
        raise InputError(f"{path}: holds {len(stack)} pages where one image is wanted; read it as a stack")
    return stack[0]


def write_stack(path: str | Path, array: np.ndarray) -> None:
    """Writes a TIFF (deflate, one page per picture) or, where N = 1, a PNG.

    array: (N, H, W) or (N, H, W, C), uint8, uint16 or float32, finite. PNG takes one channel (uint8, uint16) or three
    (uint8). `read_stack` gives the same array back, bit for bit, as (N, H, W, C). The file appears whole or not at all:
    it is written under a temporary name beside the target and renamed.

    Raises InputError for another suffix, shape or dtype, and where the folder is missing or cannot be written to.
    """
    path, array = Path(path), np.asarray(array)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise InputError(f"{path}: cannot write {suffix or 'a file without suffix'}; use one of .png, .tif, .tiff")
    if array.ndim not in (3, 4) or array.size == 0:
        raise InputError(f"{path}: cannot write shape {array.shape}; give (N, H, W) or (N, H, W, C), none of them 0")
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
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{suffix}")
    try:
        if suffix == ".png":
            _save_png(partial, pixels[0])
        else:
            _save_tiff(partial, pixels)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        partial.unlink(missing_ok=True)


def _as_image(raw: np.ndarray, path: str | Path) -> np.ndarray:
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
        raise InputError(f"{path}: PNG holds one picture, not {count}; use .tif")
    if (channels, dtype.name) not in ((1, "uint8"), (1, "uint16"), (3, "uint8")):
        raise InputError(f"{path}: PNG does not hold {channels} channel(s) of {dtype} here; use .tif")


def _save_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(path, format="PNG")


def _save_tiff(path: Path, pixels: np.ndarray) -> None:
    import tifffile

    channels = pixels.shape[-1]
    # Left to guess, tifffile would take (H, W, 2) for H pages, and a fourth channel of RGB for alpha.
    options: dict = {"photometric": "rgb" if channels == 3 else "minisblack"}
    if channels > 1:
        options["planarconfig"] = "contig"
    axes = "QYXS" if channels > 1 else "QYX"
    data = pixels if channels > 1 else pixels[..., 0]
    tifffile.imwrite(path, data, compression="zlib", metadata={"axes": axes}, **options)
