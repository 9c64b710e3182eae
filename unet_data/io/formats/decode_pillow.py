"""Reads pictures with Pillow."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np

from unet_spec.errors import InputError

from ..budget import check_memory
from ..decode import PNG_MAGIC, check_claim
from ..facts import FileFacts, ReadSettings, Role
from ..orientation import TAG, turned

_OPENING = threading.Lock()
"""`catch_warnings` changes what the whole process does with warnings, so one thread at a time is in it."""
_GREY_OR_RGB = ("1", "L", "RGB", "I", "I;16", "I;16B")


def decode_pillow(
    path: Path, head: bytes, formats: tuple[str, ...], role: Role, settings: ReadSettings
) -> tuple[np.ndarray, FileFacts]:
    """See `decode`. `head` are the first bytes of the file; `formats` are Pillow's names of its possible formats."""
    from PIL import Image

    depth, colour_type = (head[24], head[25]) if head.startswith(PNG_MAGIC) else (8, None)
    if depth == 16 and colour_type != 0:
        raise InputError(f"{path}: is a 16-bit colour PNG, which can only be read with 8 bits; save it as TIFF")
    facts: dict[str, Any] = {}
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # slides may be large; checked below
        opened = Image.open(path, formats=formats)
    with opened as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format == "MPO":
            facts["left_out"] = ("the previews of an MPO file (a camera's JPEG)",)
        elif frames > 1:
            raise InputError(f"{path}: is an animation; save its frames as separate files or as a TIFF stack")
        size = 4 if image.mode == "I" else 2 if image.mode.startswith("I;16") else len(image.getbands())
        if formats[0] in ("PNG", "JPEG", "BMP"):
            check_claim(path, (image.height, image.width), size)
        else:  # these formats can have any ratio for blank pictures
            check_memory(path, 2 * size * image.height * image.width, path.stat().st_size)
        image.load()
        orientation = _orientation(image)
        pixels = _pixels(path, image, role, settings, facts)
        mode = image.mode
    if mode == "I":  # Pillow before 11 returns 16-bit grey PNG in this mode
        pixels = pixels.astype(np.uint16)
    if role == "label" and colour_type == 0 and depth in (2, 4):
        pixels = pixels // (255 // (2**depth - 1))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if orientation != 1:
        facts |= {"orientation": orientation, "turned": settings.orientation == "apply"}
        pixels = turned(pixels, orientation) if facts["turned"] else pixels
    dtype = "bool" if mode == "1" else str(pixels.dtype)
    axes = "YXS" if pixels.shape[-1] > 1 else "YX"
    return pixels[None], FileFacts(dtype, axes, pixels.shape[: len(axes)], **facts)


def _pixels(path: Path, image: Any, role: Role, settings: ReadSettings, facts: dict[str, Any]) -> np.ndarray:
    mode, alpha = image.mode, image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info
    keep = alpha and settings.channels == "all" and role == "image"
    if alpha:
        facts["alpha"] = "kept" if keep else "dropped"
    if mode in ("P", "PA"):
        index = np.asarray(image.getchannel(0))
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        look_up, facts["palette"] = choose_palette(palette, role, settings)
        facts["colours"] = colours(palette, facts["palette"])
        if facts["palette"] != "colour":
            fits = len(palette) > index.max()
            return np.asarray(look_up(index) if fits else index)
        if image.format == "GIF" and (palette == palette[:, :1]).all():  # a grey GIF always has a palette
            facts["palette"] = "grey"
            return np.asarray(image.convert("L"))
        return np.asarray(image.convert("RGBA"))[..., : 4 if keep else 3]
    if mode in ("LA", "RGBA"):
        if role == "label" and _drawn_in_alpha(np.asarray(image)):
            raise InputError(
                f"{path}: has one colour everywhere, but an alpha channel that varies: its mask is in the alpha "
                "channel, which is not read from labels; write that channel as a grey image"
            )
        return np.asarray(image)[..., : None if keep else -1]
    if mode not in _GREY_OR_RGB:
        raise InputError(f"{path}: has colour mode {mode}; convert it to grey or RGB")
    return np.asarray(image.convert("LA" if mode in ("1", "L") else "RGBA") if keep and mode[0] != "I" else image)


def _drawn_in_alpha(pixels: np.ndarray) -> bool:
    """Whether only the alpha channel of (H, W, C), the last one, varies."""
    varies = (pixels != pixels[:1, :1]).any((0, 1))
    return bool(varies[-1] and not varies[:-1].any())


def _orientation(image: Any) -> int:
    """The value of the orientation tag; 1 if it is missing or invalid."""
    try:
        value = image.getexif().get(TAG, 1)
    except Exception:  # damaged EXIF data raise nearly everything, but the pixels can be intact
        return 1
    return cast(int, value) if value in range(1, 9) else 1


def choose_palette(palette: np.ndarray, role: Role, settings: ReadSettings) -> tuple[Any, Any]:
    """A function from indices (*n) to numbers or colours, and its name. `palette` is (P, 3) uint8. See `decode`."""
    if settings.palette == "index":
        return (lambda index: index), "index"
    if role == "image" or settings.class_colors:
        return palette.__getitem__, "colour"
    if (palette == palette[:, :1]).all():
        return palette[:, 0].__getitem__, "grey"
    return (lambda index: index), "index"


def colours(palette: np.ndarray, read_as: str) -> tuple[tuple[int, int, int], ...]:
    """The first 256 colours of a palette that is read as index, by number."""
    return tuple((int(r), int(g), int(b)) for r, g, b in palette[:256]) if read_as == "index" else ()
