"""Pixel sizes of images, and the pixel size to which they are resampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unet_spec import DataSpec
from unet_spec.errors import InputError

from ..io.facts import FileFacts
from ..io.formats.units import METRES, symbol

ANISOTROPY = 3.0
"""An axis whose pixels are more than this many times as large as those of all other axes is coarse."""

_LARGEST = 2**31


@dataclass(frozen=True)
class TargetSpacing:
    """The pixel size to which images are resampled.

    Attributes:
        size: pixel size along (z,) y, x; (): images are not resampled.
        unit: its unit, as in the files; "": not stated.
        reason: the rule, and the figure that it was applied to.

    Example:
        >>> from unet_data import TargetSpacing
        >>> str(TargetSpacing((5.0, 1.0, 1.0), "mm"))
        '5 x 1 x 1 mm'
    """

    size: tuple[float, ...]
    unit: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return DataSpec(spacing=self.size, spacing_unit=self.unit).describe_spacing()

    @property
    def text(self) -> str:
        """The value of --spacing that gives this target: "5,1,1", or "none"."""
        return ",".join(f"{length:.9g}" for length in self.size) or "none"

    @classmethod
    def of(cls, data: DataSpec) -> TargetSpacing:
        """The pixel size that a network expects."""
        return cls(data.spacing, data.spacing_unit)


def parse_spacing(text: str) -> tuple[float, ...] | None:
    """The numbers of `--spacing`: (5.0, 1.0, 1.0) for "5,1,1", () for "none", None for "auto".

    Raises:
        InputError: the text is something else.

    Example:
        >>> from unet_data.spacing.target import parse_spacing
        >>> parse_spacing("5,1,1"), parse_spacing("none")
        ((5.0, 1.0, 1.0), ())
    """
    if text in ("auto", "none"):
        return None if text == "auto" else ()
    try:
        size = tuple(map(float, text.split(",")))
    except ValueError:
        size = ()
    if not size or not all(0 < length < math.inf for length in size):
        raise InputError(f"spacing is {text!r}; it must be auto, none, or numbers above 0 along z, y, x, such as 5,1,1")
    return size


def pixel_size(facts: FileFacts, dims: int, unit: str) -> tuple[float, ...] | None:
    """The pixel size along the last `dims` axes that a file states, in `unit`.

    None if the file does not state it for all of these axes, or in an unknown unit. A pixel size without a unit is
    taken to be in `unit`.

    Example:
        >>> from unet_data.spacing.target import pixel_size
        >>> pixel_size(FileFacts(spacing=(5.0, 0.5, 0.5), unit="micrometer"), 2, "mm")
        (0.0005, 0.0005)
    """
    own = tuple(float(length) for length in (facts.spacing or ())[-dims:])
    if len(own) < dims or not all(0 < length < math.inf for length in own):
        return None
    stated, asked = symbol(facts.unit), symbol(unit)
    if stated == asked or not stated or not asked:
        return own
    if stated not in METRES or asked not in METRES:
        return None
    return tuple(float(f"{length * METRES[stated] / METRES[asked]:.12g}") for length in own)


def coarse_axis(size: Sequence[float]) -> int | None:
    """The axis whose pixels are more than 3 times as large as those of every other axis; None if there is none."""
    axis = int(np.argmax(size))
    others = [length for other, length in enumerate(size) if other != axis]
    return axis if others and size[axis] > ANISOTROPY * max(others) else None


def target_shape(shape: Sequence[int], size: Sequence[float], target: Sequence[float]) -> tuple[int, ...]:
    """Pixels per axis of an image of `shape` after resampling from pixels of `size` to pixels of `target`: rounded to
    the nearest number, at least 1.

    Raises:
        InputError: the number is too large.

    Example:
        >>> from unet_data.spacing.target import target_shape
        >>> target_shape((20, 64, 64), (4.0, 0.9, 0.7), (2.5, 0.8, 0.8))
        (32, 72, 56)
    """
    lengths = [n * own / new for n, own, new in zip(shape, size, target, strict=True)]
    if not all(length < _LARGEST for length in lengths):
        raise InputError(
            f"an image of {TargetSpacing(tuple(shape))} pixels of {TargetSpacing(tuple(size))} would become too large "
            f"with pixels of {TargetSpacing(tuple(target))}"
        )
    return tuple(max(1, round(length)) for length in lengths)
