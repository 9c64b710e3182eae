"""Overlapping classes: their masks are packed into one number per pixel. Bit k states whether the pixel has class k.

The packed array is cut, mirrored, warped and split like labels of exclusive classes; only losses and scores unpack it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from .advice import some
from .numbers import parse_numbers, whole_numbers

if TYPE_CHECKING:
    from jaxtyping import Int8, Int32, Shaped

MAX_MASKS = 24
"""Maximum number of overlapping classes: 24 bits stay exact if labels are converted to float32."""

_REGION = re.compile(r"\s*(?:([^=;]+)=)?([^=;]+)")


def pack_masks(masks: Shaped[np.ndarray, "*spatial k"]) -> Int32[np.ndarray, "*spatial"]:
    """Packs masks into one number per pixel.

    Args:
        masks: (*spatial, K), 0 or 1; −1 in any class for an ignored pixel.

    Returns:
        The sum of 2**k over the classes k of a pixel; −1 (`IGNORED`) for ignored pixels.

    Raises:
        InputError: more than MAX_MASKS classes.

    Example:
        >>> from unet_data import pack_masks
        >>> pack_masks(np.array([[0, 0], [1, 0], [1, 1], [-1, 0]])).tolist()
        [0, 1, 3, -1]
    """
    masks = np.asarray(masks)
    check_count(masks.shape[-1], "the masks")
    found = np.zeros(masks.shape[:-1], np.int32)
    for k in range(masks.shape[-1]):
        found |= (masks[..., k] > 0).astype(np.int32) << k
    if masks.dtype.kind == "i":
        found[(masks < 0).any(-1)] = -1
    return found


def unpack_masks(packed: Shaped[np.ndarray, "*spatial"], classes: int) -> Int8[np.ndarray, "*spatial k"]:
    """The inverse of `pack_masks`: masks of 0 and 1, and −1 in all classes for ignored pixels.

    Args:
        packed: (*spatial), integers.
        classes: K.

    Example:
        >>> from unet_data import unpack_masks
        >>> unpack_masks(np.array([0, 3, -1]), 2).tolist()
        [[0, 0], [1, 1], [-1, -1]]
    """
    bits = (packed[..., None] >> np.arange(classes)) & 1
    return np.where(packed[..., None] < 0, -1, bits).astype(np.int8)


def topmost(packed: Shaped[np.ndarray, "*spatial"]) -> Int32[np.ndarray, "*spatial"]:
    """One number per pixel, for pictures: 1 + its last class, 0 without a class, −1 for ignored pixels."""
    exponent = np.frexp(np.maximum(packed, 0).astype(np.float64))[1]
    return np.where(packed < 0, -1, exponent).astype(np.int32)


def check_count(count: int, where: object) -> None:
    """Raises InputError for more overlapping classes than fit in one number."""
    if count > MAX_MASKS:
        raise InputError(f"{where}: {count} overlapping classes; at most {MAX_MASKS} are supported")


def one_mask(raw: Shaped[np.ndarray, "*n"], where: object, ignore: int | None) -> Int8[np.ndarray, "*n"]:
    """The mask of one class from its stored numbers: 1 on the class, 0 elsewhere, −1 where the number is `ignore`.

    Raises:
        InputError: there are more numbers than 0 and one other.
    """
    raw = whole_numbers(raw, Path(str(where)))
    mask = (raw != 0).astype(np.int8)
    if ignore is not None:
        mask[raw == ignore] = -1
    values = np.unique(raw[mask > 0])
    if len(values) > 1:
        raise InputError(
            f"{where}: holds {some(np.unique(raw))}; the mask of one class contains 0 and one other number; for masks "
            "of several classes, list their numbers: --class-numbers 'whole=1-3;core=2,3'"
        )
    return mask


def parse_regions(text: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and numbers of overlapping classes: in "whole=1-3; core=2,3", pixels of number 2 have both classes.

    Raises:
        InputError: the text has another form, a name occurs twice, or there are too many classes.

    Example:
        >>> from unet_data.labels.masks import parse_regions
        >>> parse_regions("whole=1-3;core=2,3")
        (('whole', (1, 2, 3)), ('core', (2, 3)))
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    for index, part in enumerate(filter(str.strip, text.split(";"))):
        match = _REGION.fullmatch(part)
        numbers = parse_numbers(match[2]) if match else ()
        if not match or not numbers:
            raise InputError(
                f"class numbers {text!r}: {part.strip()!r} is not a class; write, for example, whole=1-3;core=2,3"
            )
        found.append(((match[1] or f"class {index}").strip(), numbers))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise InputError(f"class numbers {text!r}: list each name only once")
    check_count(len(found), f"class numbers {text!r}")
    return tuple(found)


def regions_of(
    raw: Shaped[np.ndarray, "*n"], where: object, regions: tuple[tuple[str, tuple[int, ...]], ...], ignore: int | None
) -> Int32[np.ndarray, "*n"]:
    """Converts label numbers, which belong to all classes that list them, to packed masks. 0 belongs to no class.

    Raises:
        InputError: no class lists a number.
    """
    raw = whole_numbers(raw, Path(str(where)))
    found = np.unique(raw)
    listed = [0, *(number for _, numbers in regions for number in numbers), *([] if ignore is None else [ignore])]
    if len(other := np.setdiff1d(found, listed)):
        raise InputError(
            f"{where}: contains {some(other)}, which the class numbers do not list; add them to a class, or, if "
            f"{other[-1]} marks pixels to ignore, pass --ignore {other[-1]}"
        )
    codes = np.array([sum((n in numbers) << k for k, (_, numbers) in enumerate(regions)) for n in found], np.int32)
    codes[found == ignore] = -1
    return codes[np.searchsorted(found, raw)]
