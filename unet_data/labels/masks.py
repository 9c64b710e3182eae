"""Overlapping classes: a mask for each, kept in one number per pixel, whose bit k says whether the pixel has class k.

One array of numbers is cut, mirrored, warped and split as labels of exclusive classes are; only losses and scores take
it apart.
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

MOST_MASKS = 24
"""Overlapping classes: their bits stay exact where labels pass as float32."""

_REGION = re.compile(r"\s*(?:([^=;]+)=)?([^=;]+)")


def pack_masks(masks: Shaped[np.ndarray, "*spatial k"]) -> Int32[np.ndarray, "*spatial"]:
    """The numbers that stand for masks.

    Args:
        masks: (*spatial, K), 0 or 1; −1 in any class where a pixel does not count.

    Returns:
        The sum of 2**k over the classes k that a pixel has; −1 (`IGNORED`) where it does not count.

    Raises:
        InputError: more than MOST_MASKS classes.

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
    """The masks, 0 or 1, of numbers that `pack_masks` made; −1 in all classes where a pixel does not count.

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
    """One number per pixel, for pictures: 1 + the last class that it has, 0 without any; −1 where it does not count."""
    exponent = np.frexp(np.maximum(packed, 0).astype(np.float64))[1]
    return np.where(packed < 0, -1, exponent).astype(np.int32)


def check_count(count: int, where: object) -> None:
    """Raises InputError for more overlapping classes than one number can hold."""
    if count > MOST_MASKS:
        raise InputError(f"{where}: {count} overlapping classes; at most {MOST_MASKS} are supported")


def one_mask(raw: Shaped[np.ndarray, "*n"], where: object, ignore: int | None) -> Int8[np.ndarray, "*n"]:
    """The mask of one class, as it is stored: 1 on the class, 0 elsewhere, −1 where the number is `ignore`.

    Raises:
        InputError: it holds more than 0 and one other number.
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
    """Names and numbers of overlapping classes: "whole=1-3; core=2,3" are two, of which number 2 has both.

    Raises:
        InputError: other text, a name twice, too many classes.

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
    """Label numbers, of which each belongs to the classes that list it, as `pack_masks` numbers; 0 to none.

    Raises:
        InputError: a number that no class lists.
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
