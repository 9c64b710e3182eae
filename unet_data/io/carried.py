"""Metadata that a result takes from its source file: georeference, resolution, pixel size, time and depth axes.

For NIfTI and OME-Zarr, see `formats.encode_nifti` and `formats.ome_zarr`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from .facts import FileFacts
from .formats.units import in_one_unit, plain_unit, symbol

GEOTIFF = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams."""

_KINDS = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}
_IMAGEJ = ("unit", "yunit", "zunit", "spacing", "finterval")
_PLANE = "YXSC"
_CENTIMETRE = 3
_RESOLUTION_UNITS = (1, 2, _CENTIMETRE)  # none, inch, centimetre: the units of TIFF 6.0


def tiff_facts(tiff: Any, page: Any, axes: str, numbers: Sequence[int] = (0,)) -> dict[str, Any]:
    """The facts `spacing`, `unit` and `extra` of a TiffFile, as far as the file states them.

    Args:
        tiff: the TiffFile.
        page: the first page that is read.
        axes: axes of the series.
        numbers: numbers of the series that are read, from 0.
    """
    tags = tuple((code, page.tags[code].value) for code in GEOTIFF if code in page.tags)
    extra: list[tuple[str, Any]] = [("geotiff", tags)] if tags else []
    steps = [page.tags[name].value for name in ("YResolution", "XResolution") if name in page.tags]
    pixels = [denominator / numerator for numerator, denominator in steps if numerator and denominator]
    tag = page.tags.get("ResolutionUnit")
    resolution = 2 if tag is None else int(tag.value) if tag.value in _RESOLUTION_UNITS else 1
    if len(pixels) == 2 and (resolution != 1 or pixels != [1.0, 1.0]):
        extra.append(("resolution", (1 / pixels[1], 1 / pixels[0], resolution)))
    spacing, unit = None, ""
    if tiff.is_ome and tiff.ome_metadata:
        stated = {_ome_spacing(tiff.ome_metadata, axes, number) for number in numbers}
        spacing, unit = stated.pop() if len(stated) == 1 else (None, "")
        extra.append(("ome", True))
    elif tiff.is_imagej:
        metadata = tiff.imagej_metadata or {}
        unit, *others = (plain_unit(str(metadata.get(key, ""))) for key in ("unit", "yunit", "zunit"))
        if len(pixels) == 2 and unit:
            deep = "Z" in axes and ("spacing" in metadata or int(metadata.get("slices", 1)) > 1)
            depth = (abs(float(metadata.get("spacing", 1))),) if deep else ()  # negative: planes from the top
            size, units = (*depth, *pixels), (others[1] or unit, others[0] or unit, unit)
            spacing, unit = in_one_unit(size, units[-len(size) :])
        extra.append(("imagej", tuple((key, metadata[key]) for key in _IMAGEJ if key in metadata)))
    elif tags and (scale := dict(tags).get(33550)):
        spacing = (float(scale[1]), float(scale[0]))
    elif len(pixels) == 2 and resolution == _CENTIMETRE:
        spacing, unit = tuple(pixels), "cm"
    return {"spacing": spacing, "unit": unit, "extra": tuple(extra)}


def _ome_spacing(text: str, axes: str, number: int) -> tuple[tuple[float, ...] | None, str]:
    """The pixel size of an image of an OME-XML text, and its unit."""
    found = re.findall(r"<(?:\w+:)?Pixels\b[^>]*>", text)[number : number + 1]
    values = dict(re.findall(r'PhysicalSize(\w+?)="([^"]*)"', found[0])) if found else {}
    names = ["Z"] * ("Z" in axes and "Z" in values) + ["Y", "X"]
    units = [plain_unit(values.get(f"{name}Unit", "µm")) for name in names]
    try:
        return in_one_unit([float(values[name]) for name in names], units)
    except (KeyError, ValueError):
        return None, ""


def volumes(facts: FileFacts, pages: int, where: object = "the file") -> list[list[int]]:
    """The pages of each volume of a stack: one volume per time point if the file states the depth axis, else one.

    Raises InputError if the file has images with different numbers of planes.

    Example:
        >>> volumes(FileFacts(axes="ZTYX", sizes=(2, 3, 8, 8)), 6)
        [[0, 3], [1, 4], [2, 5]]
    """
    counted = [(letter, n) for letter, n in zip(facts.axes, facts.sizes, strict=False) if letter not in _PLANE]
    letters, lengths = [letter for letter, _ in counted], [n for _, n in counted]
    if "Q" in letters and "Z" in letters and math.prod(lengths) != pages:
        raise InputError(f"{where}: holds images with different numbers of planes; save each in its own file")
    if "Z" not in letters or math.prod(lengths) != pages:
        return [list(range(pages))]
    depth = letters.index("Z")
    if lengths[depth] == 1:
        return [list(range(pages))]
    return np.moveaxis(np.arange(pages).reshape(lengths), depth, -1).reshape(-1, lengths[depth]).tolist()


def counted_axes(facts: FileFacts, pages: int, dims: int) -> tuple[str, tuple[int, ...]] | None:
    """Letters and lengths of the axes before Y and X for a result with `pages` pages; for volumes, Z is the last one.
    None if the file's axes do not match the number of pages."""
    pairs = zip(facts.axes, facts.sizes, strict=False)
    counted = [(letter, n) for letter, n in pairs if letter in "TZ" and n > 1]
    if dims == 3:
        counted.sort(key=lambda pair: pair[0] == "Z")
    letters, lengths = "".join(letter for letter, _ in counted), tuple(n for _, n in counted)
    return (letters, lengths) if letters and math.prod(lengths) == pages else None


def page_axes(facts: FileFacts, pages: int, dims: int) -> tuple[str, tuple[int, ...]]:
    """As `counted_axes`, but for every result. If the file's axes do not match, such as several positions or samples,
    the first axis is time in kinds of TIFF that have no other one.

    Example:
        >>> page_axes(FileFacts(axes="QZYX", sizes=(2, 3, 8, 8)), 6, 3)
        ('QZ', (2, 3))
    """
    if (known := counted_axes(facts, pages, dims)) is not None:
        return known
    first = "T" if _as_ome(facts) else "Q"
    depth = dict(zip(facts.axes, facts.sizes, strict=False)).get("Z", 1) if dims == 3 else 1
    if 1 < depth < pages and pages % depth == 0:
        return f"{first}Z", (pages // depth, depth)
    return "Z" if dims == 3 else first, (pages,)


def page_order(facts: FileFacts, other: FileFacts) -> list[int] | None:
    """The pages of another file in the order of an image's pages, if both state a depth and a time axis, in different
    orders. None: the pages correspond as they are.

    Raises InputError if the lengths of these axes differ.

    Example:
        >>> page_order(FileFacts(axes="TZYX", sizes=(2, 3, 8, 8)), FileFacts(axes="ZTYX", sizes=(3, 2, 8, 8)))
        [0, 2, 4, 1, 3, 5]
    """
    own, their = (
        {letter: n for letter, n in zip(each.axes, each.sizes, strict=False) if letter not in _PLANE and n > 1}
        for each in (facts, other)
    )
    if set(own) != {"T", "Z"} or set(their) != {"T", "Z"}:
        return None
    if own != their:
        raise InputError(
            f"the image has {own['T']} time points of {own['Z']} planes, its label {their['T']} of {their['Z']}"
        )
    if list(own) == list(their):
        return None
    return np.arange(own["T"] * own["Z"]).reshape(*their.values()).T.ravel().tolist()


def tiff_tags(facts: FileFacts) -> dict[str, Any]:
    """Arguments for tifffile: the tags of a georeference, and the resolution. Empty if the pixels were turned, since
    the tags describe the stored orientation."""
    extra: Mapping[str, Any] = dict(facts.extra)
    if facts.turned:
        return {}
    found: dict[str, Any] = {}
    if tags := extra.get("geotiff"):
        found["extratags"] = [(code, _KINDS[code], _length(code, value), value, True) for code, value in tags]
    if resolution := extra.get("resolution"):
        found["resolution"], found["resolutionunit"] = resolution[:2], resolution[2]
    return found


def _length(code: int, value: Any) -> int:
    return 0 if _KINDS[code] == "s" else len(value) if isinstance(value, Sequence) else 1


def tiff_metadata(
    facts: FileFacts, axes: str, dtype: np.dtype | type, tiled: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The kind of TIFF of a result with these axes and dtype, as an argument of tifffile's writer, and its metadata.

    The result of an ImageJ file that ImageJ's kind of TIFF cannot store becomes an OME-TIFF.
    """
    extra: Mapping[str, Any] = dict(facts.extra)
    counted, dtype = axes.removesuffix("S"), np.dtype(dtype)
    if counted not in ("YX", "ZYX", "TYX", "TZYX", "ZTYX"):
        return {}, {"axes": axes}
    imagej = (
        "imagej" in extra
        and not facts.turned
        and axes == counted != "ZTYX"
        and dtype in (np.uint8, np.uint16, np.float32)
    )
    if imagej and not tiled:
        return {"imagej": True}, {"axes": axes} | {key: _ascii(value) for key, value in extra["imagej"]}
    if _as_ome(facts) and facts.spacing and dtype != np.float16:  # OME has no 16-bit floats
        steps = dict(zip("ZYX"[-len(facts.spacing) :], facts.spacing, strict=True))
        names = [letter for letter in steps if letter in axes]
        sizes: dict[str, Any] = {f"PhysicalSize{a}": steps[a] for a in names}
        units = {f"PhysicalSize{a}Unit": symbol(facts.unit) for a in names} if facts.unit else {}
        return {"ome": True}, {"axes": axes, **sizes, **units}
    return {}, {"axes": axes}


def imagej_scale(facts: FileFacts) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pixel size as an ImageJ TIFF states it: metadata and tags. Empty if it is not known with its unit."""
    if not facts.spacing or not facts.unit or len(facts.spacing) < len("YX"):
        return {}, {}
    *depth, height, width = facts.spacing
    metadata = {"unit": _ascii(symbol(facts.unit))} | ({"spacing": depth[-1]} if depth else {})
    return metadata, {"resolution": (1 / width, 1 / height), "resolutionunit": 1}


def _as_ome(facts: FileFacts) -> bool:
    """Whether the pixel size in a TIFF is that of OME: that of an OME-TIFF or ImageJ file, or one with a unit that the
    tags of the TIFF do not state."""
    extra = dict(facts.extra)
    if "ome" in extra or "imagej" in extra:
        return True
    tags = "resolution" in extra and len(facts.spacing or ()) <= len("YX") and not facts.turned
    return bool(facts.spacing and facts.unit) and not tags and "geotiff" not in extra


def _ascii(value: Any) -> Any:
    """Text with the letters beyond ASCII escaped, as ImageJ does."""
    if not isinstance(value, str):
        return value
    return "".join(letter if letter.isascii() else f"\\u{ord(letter):04X}" for letter in value)


_TIFF, _NIFTI, _ZARR = (".tif", ".tiff"), (".nii.gz", ".nii"), (".zarr", ".ome.zarr")


def lost(facts: FileFacts, ending: str, dtype: np.dtype | type = np.uint8) -> str | None:
    """A warning if a file with this ending and dtype cannot store the image's georeference or pixel size, else None.

    Example:
        >>> lost(FileFacts(spacing=(0.5, 0.5), unit="µm", extra=(("ome", True),)), ".png")
        '.png cannot store the pixel size of the image; .tif can'
    """
    extra = dict(facts.extra)
    places = {"geotiff": ("georeference", _TIFF), "nifti": ("affine", _NIFTI), "multiscales": ("pixel size", _ZARR)}
    what, held = next((places[key] for key in places if key in extra), ("pixel size", _TIFF))
    if what == "pixel size":
        if not facts.spacing:
            return None
        held += (*_NIFTI, ".ome.zarr", *(_TIFF if _as_ome(facts) else ()))
    if facts.turned and what == "georeference":
        return f"the {what} of the image is not written, since its pixels were turned; --orientation ignore keeps both"
    if ending in _TIFF and what == "pixel size" and _as_ome(facts) and dtype == np.float16:
        return "a TIFF of float16 cannot store the pixel size of the image; one of float32 or uint8 can"
    return None if ending in held else f"{ending} cannot store the {what} of the image; {held[0]} can"
