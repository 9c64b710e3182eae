"""Settings of the readers, and the facts that a reader returns with the pixels: metadata and decisions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import numpy as np

from unet_spec.errors import InputError
from unet_spec.weights.data_spec import DataSpec

from .colours import parse_class_colors
from .formats.axes import check_axes
from .formats.units import parse_pixel_size

Role = Literal["image", "label"]


@dataclass(frozen=True)
class ReadSettings:
    """How files are read if there is a choice. Every command that reads images has these as flags.

    Attributes:
        channels: Channels of images. "auto" drops an alpha channel; "all" keeps it. "repeat" repeats grey as three
            equal channels, for colour networks; "grey" converts colour to grey; both drop alpha.
        orientation: Orientation tags (EXIF, TIFF). "apply" turns images as the tag says; "ignore" leaves them as
            stored.
        white_is_zero: Files marked "white is zero". "auto" inverts images, so that larger is brighter, and 1-bit
            labels; other labels keep their stored numbers. "displayed" inverts all; "stored" inverts none.
        palette: Files with a colour palette. "auto" reads images as RGB, and labels as indices (as grey values if the
            palette is grey); labels with different palettes are refused. "index" reads all as indices.
        class_colors: Colours of the classes in colour-coded labels, in the order of the classes, with or without names:
            "#000000,#800000" or "road=#804080,car=#00008e". The first colour becomes class 0.
        axes: Axes of TIFF, .npy and .zarr files, in file order, such as TZYX or ZCYX, if the files do not state them
            or state wrong ones. T is time, Z depth, C channel, Q any other axis.
        pixel_size: Pixel size, along z, y, x, of images whose files do not state it, with its unit: "5,1,1 mm". One
            number holds for all axes: "0.65 µm".

    Raises:
        InputError: a value is unknown.

    Example:
        >>> from unet_data import ReadSettings
        >>> ReadSettings(channels="all").orientation
        'apply'
    """

    channels: Literal["auto", "all", "repeat", "grey"] = "auto"
    orientation: Literal["apply", "ignore"] = "apply"
    white_is_zero: Literal["auto", "stored", "displayed"] = "auto"
    palette: Literal["auto", "index"] = "auto"
    class_colors: str = ""
    axes: str = ""
    pixel_size: str = ""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, allowed = getattr(self, name), get_args(hint)
            if value not in allowed if allowed else not isinstance(value, str):
                raise InputError(f"{name} is {value!r}; it must be {' or '.join(allowed) or 'text'}")
        check_axes(self.axes)
        parse_pixel_size(self.pixel_size)
        if len(parse_class_colors(self.class_colors)) == 1:
            raise InputError(f"class colors {self.class_colors!r}: list all classes, the background first")
        if self.class_colors and self.palette == "index":
            raise InputError("class_colors reads colours, but palette index reads indices: leave out one of the two")


@dataclass(frozen=True)
class FileFacts:
    """A file's metadata about its pixels, and the decisions of the reader. "" and None mean none or unknown.

    Attributes:
        dtype: dtype of the stored values, such as "uint16".
        axes: axes in file order, by tifffile's letters: "TZCYX", "YXS".
        sizes: lengths of these axes.
        orientation: value of the orientation tag; 1 is upright.
        turned: whether the pixels were turned because of it.
        alpha: treatment of an alpha channel: "dropped" or "kept".
        white_is_zero: treatment of a file marked "white is zero": "inverted" or "stored".
        palette: how a palette was read: as "index", "grey" or "colour".
        colours: (red, green, blue) of each number of a palette read as index.
        left_out: images of the file that were not read, in words.
        read_as: how axes or channels were interpreted, in words.
        nodata: value that the file declares for pixels without data.
        spacing: pixel size along (z,) y, x, in `unit`.
        unit: unit of the spacing, such as "mm" or "micrometer".
        extra: metadata for results, by name: tags of a GeoTIFF, a resolution, an affine.

    Example:
        >>> from unet_data import FileFacts
        >>> FileFacts(dtype="uint8", alpha="dropped").turned
        False
    """

    dtype: str = ""
    axes: str = ""
    sizes: tuple[int, ...] = ()
    orientation: int = 1
    turned: bool = False
    alpha: Literal["", "dropped", "kept"] = ""
    white_is_zero: Literal["", "inverted", "stored"] = ""
    palette: Literal["", "index", "grey", "colour"] = ""
    colours: tuple[tuple[int, int, int], ...] = ()
    left_out: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    nodata: float | None = None
    spacing: tuple[float, ...] | None = None
    unit: str = ""
    extra: tuple[tuple[str, Any], ...] = ()

    @property
    def settled(self) -> bool:
        """Whether `ReadSettings` had any effect on the file."""
        return bool(self.orientation != 1 or self.alpha or self.white_is_zero or self.palette)

    def decisions(self, role: Role) -> Iterator[tuple[str, str]]:
        """The decisions in words, each with the option that changes it ("" if there is none)."""
        if self.turned:
            yield f"turned by the orientation tag ({self.orientation})", "--orientation ignore leaves them as stored"
        elif self.orientation != 1:
            yield f"orientation tag {self.orientation} ignored", "--orientation apply turns them"
        if self.alpha:
            option = {"dropped": "--channels all keeps it", "kept": "--channels auto drops it"}[self.alpha]
            yield f"alpha {self.alpha}", option * (role == "image")
        if self.white_is_zero == "inverted":
            yield "white is zero: inverted", "--white-is-zero stored keeps the stored numbers"
        elif self.white_is_zero:
            yield "white is zero: stored numbers kept", "--white-is-zero displayed inverts them"
        if self.palette:
            other = "" if role == "label" else "--palette index reads the index"
            yield f"palette read as {self.palette}", "" if self.palette == "index" else other
        for what in self.left_out:
            yield f"left out {what}", ""
        for what in self.read_as:
            yield what, ""
        if self.nodata is not None:
            yield f"declares {self.nodata:g} as no data", ""


PLAIN = FileFacts()
"""The facts of pixels without metadata."""

DEFAULTS = ReadSettings()


def stored_reading(data: DataSpec) -> ReadSettings:
    """The settings with which training read its files, as stored with a network; defaults if they are not stored.

    Raises:
        InputError: this version does not know a field or value.

    Example:
        >>> from unet_data.io.facts import stored_reading
        >>> from unet_spec import DataSpec
        >>> stored_reading(DataSpec(reading={"channels": "all"})).channels, stored_reading(DataSpec()) == DEFAULTS
        ('all', True)
    """
    stored = data.reading or {}
    names = [each.name for each in fields(ReadSettings)]
    if unknown := [name for name in stored if name not in names]:
        raise InputError(f"data.reading has {unknown[0]!r}; this version knows {', '.join(names)}")
    return ReadSettings(**stored)  # type: ignore[arg-type]  # ReadSettings checks the values


def with_pixel_size(facts: FileFacts, text: str) -> FileFacts:
    """The facts with the pixel size of `ReadSettings.pixel_size`, if the file states none, or for fewer axes.

    Example:
        >>> from unet_data.io.facts import FileFacts, with_pixel_size
        >>> with_pixel_size(FileFacts(), "5,1,1 mm").spacing
        (5.0, 1.0, 1.0)
        >>> with_pixel_size(FileFacts(spacing=(2.0, 2.0), unit="mm"), "0.65 µm").spacing
        (2.0, 2.0)
    """
    (size, unit), own = parse_pixel_size(text), facts.spacing or ()
    if not size or len(own) >= len(size) or (own and len(size) == 1):
        return facts
    size = size * 3 if len(size) == 1 else size
    return replace(facts, spacing=size, unit=unit, read_as=(*facts.read_as, f"pixel size taken as {text}"))


def void(pixels: np.ndarray, nodata: float) -> np.ndarray:
    """A mask of the pixels, in their stored dtype, that have the value for missing data.

    Example:
        >>> from unet_data.io.facts import void
        >>> void(np.array([1, np.nan, -9999], np.float32), -9999.0).tolist()
        [False, True, True]
    """
    if pixels.dtype.kind != "f":
        return pixels == nodata if float(nodata).is_integer() else np.zeros(pixels.shape, bool)
    missing = np.isnan(pixels)
    if not math.isnan(nodata):
        limits = np.finfo(pixels.dtype)
        missing |= pixels == pixels.dtype.type(np.clip(nodata, limits.min, limits.max))
    return missing


def summary(facts: Sequence[FileFacts], role: Role) -> list[str]:
    """One line per decision: the decision, the number of its images, and the option that changes it.

    Args:
        facts: facts of each image or label of a set.
        role: "image" or "label".

    Example:
        >>> from unet_data.io.facts import summary
        >>> summary([FileFacts(alpha="dropped"), FileFacts()], "image")
        ['alpha dropped: 1 of 2 images; --channels all keeps it']
    """
    found: dict[tuple[str, str], int] = {}
    for each in facts:
        for decision in each.decisions(role):
            found[decision] = found.get(decision, 0) + 1
    return [
        f"{what}: {count} of {len(facts)} {role}s" + f"; {option}" * bool(option)
        for (what, option), count in found.items()
    ]
