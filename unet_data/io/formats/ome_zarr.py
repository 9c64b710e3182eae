"""Multiscales metadata of OME-Zarr (0.1 to 0.5): reads those of an image, and makes those of a result.

Results are written as 0.5 (zarr v3). Label images have the version of the image that contains them, 0.4 (zarr v2) or
0.5.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..carried import counted_axes
from ..facts import FileFacts
from .units import in_one_unit, symbol

KEY = "multiscales"
"""Key in `FileFacts.extra` of the axes, scale and translation of the level that was read, as JSON."""

VERSIONS = {2: "0.4", 3: "0.5"}
"""Version of OME-Zarr by version of zarr."""
SPATIAL = ("z", "y", "x")
_UNITS = {"nm": "nanometer", "Å": "angstrom", "µm": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter"}


def level_facts(scales: Mapping[str, Any], path: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """From an image's metadata: the names of the axes, and the facts `spacing`, `unit` and `extra` of a level.

    Args:
        scales: an entry of "multiscales".
        path: the level's path in the metadata.
    """
    axes = [a if isinstance(a, dict) else {"name": str(a)} for a in scales.get("axes") or ()]
    names = tuple(str(a.get("name")) for a in axes)
    level = next((d for d in scales["datasets"] if d.get("path") == path), {})
    steps = [level.get("coordinateTransformations"), scales.get("coordinateTransformations")]
    found = _composed([t for each in steps for t in each or ()], len(axes))
    if not axes or found is None:
        return names, {}
    scale, translation = found
    size = dict(zip(names, scale, strict=True))
    units = {a["name"]: str(a.get("unit") or "") for a in axes if a.get("name") in SPATIAL}
    spatial = [name for name in SPATIAL if name in size]
    spacing, unit = in_one_unit([size[name] for name in spatial], [units[name] for name in spatial])
    metadata = {"name": scales.get("name"), "axes": axes, "scale": scale, "translation": translation}
    return names, {
        "spacing": spacing,
        "unit": unit,
        "extra": ((KEY, json.dumps(metadata)), ("ome", True)),
    }


def _composed(steps: Sequence[Any], dims: int) -> tuple[list[float], list[float]] | None:
    """Scale and translation of a sequence of transformations; None if it is empty or one is damaged."""
    scale, translation = [1.0] * dims, [0.0] * dims
    for step in steps:
        values = step.get(step.get("type")) if isinstance(step, dict) else None
        if values is None:  # identity; or an array in a file
            continue
        if not isinstance(values, list) or len(values) != dims or not all(map(_is_number, values)):
            return None
        if step["type"] == "scale":
            if not all(v > 0 for v in values):
                return None
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            translation = [a * b for a, b in zip(translation, values, strict=True)]
        elif step["type"] == "translation":
            translation = [a + b for a, b in zip(translation, values, strict=True)]
    return (scale, translation) if steps else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_ome(facts: FileFacts, pages: int, dims: int) -> FileFacts:
    """Facts of any image, extended by those for an OME-Zarr of its result: time, depth, pixel size.

    Args:
        facts: facts of the image.
        pages: number of pictures or volumes in the result.
        dims: number of axes of each.

    Example:
        >>> from unet_data import FileFacts
        >>> image = dict(as_ome(FileFacts(spacing=(0.5, 0.25), unit="µm"), 1, 2).extra)[KEY]
        >>> json.loads(image)["scale"], json.loads(image)["axes"][1]
        ([0.5, 0.25], {'name': 'x', 'type': 'space', 'unit': 'micrometer'})
    """
    if KEY in dict(facts.extra):
        return facts
    letters, lengths = counted_axes(facts, pages, dims) or ("", ())
    if dims == 3:
        letters, lengths = letters.replace("Z", ""), lengths[: len(letters.replace("Z", ""))]
    names = (*letters.lower(), *SPATIAL[-dims:])
    steps = facts.spacing or ()
    size: dict[str, float] = dict(zip(SPATIAL[-len(steps) :], steps, strict=True)) if steps else {}
    unit = _UNITS.get(symbol(facts.unit), "") if steps else ""
    axes = []
    for name in names:
        kind = {"type": "space"} if name in SPATIAL else {"type": "time"}
        axes.append({"name": name, **kind, **({"unit": unit} if unit and name in SPATIAL else {})})
    scale = [float(size.get(name, 1.0)) for name in names]
    metadata = {"name": None, "axes": axes, "scale": scale, "translation": [0.0] * len(names)}
    extra = (*facts.extra, (KEY, json.dumps(metadata)))
    return replace(facts, sizes=(*lengths, *(1,) * dims), extra=extra)


def result_axes(
    facts: FileFacts, images: int, dims: int, channels: int
) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Names and lengths of a result's axes before those of one picture: time and depth as in the image, samples, and
    "c" for the values of a pixel. None if the image was not an OME-Zarr.

    Args:
        facts: facts of the image.
        images: number of pictures or volumes in the result.
        dims: number of axes of each.
        channels: number of values per pixel; 0 if a pixel is a scalar.
    """
    if (image := dict(facts.extra).get(KEY)) is None:
        return None
    pairs = zip((str(a["name"]) for a in json.loads(image)["axes"]), facts.sizes, strict=True)
    counted = [(name, n) for name, n in pairs if name not in (*SPATIAL[-dims:], "c")]
    rest = images // math.prod(n for _, n in counted)
    if rest > 1:
        counted.append(("sample", rest))
    if channels:  # before the spatial axes, including a depth axis whose planes are pictures
        place = next((i for i, (name, _) in enumerate(counted) if name in SPATIAL), len(counted))
        counted.insert(place, ("c", channels))
    return tuple(name for name, _ in counted), tuple(n for _, n in counted)


def result_metadata(
    facts: FileFacts, names: Sequence[str], dims: int, levels: int = 1, zarr_format: int = 3, labels: bool = False
) -> dict[str, Any]:
    """The attributes of a result, with the scale and translation of the image.

    Args:
        facts: facts of the image.
        names: names of the result's axes.
        dims: number of axes of one picture, which are the last ones.
        levels: number of levels, "0", "1", ...; each has every second pixel of the previous one, along every axis.
        zarr_format: 2 or 3.
        labels: whether it is a label image inside its image.
    """
    image = json.loads(dict(facts.extra)[KEY])
    known = {a["name"]: i for i, a in enumerate(image["axes"])}
    new = {"c": {"name": "c", "type": "channel"}}
    axes = [image["axes"][known[n]] if n in known else new.get(n, {"name": n}) for n in names]
    scale = [image["scale"][known[n]] if n in known and n != "c" else 1.0 for n in names]
    moved = [image["translation"][known[n]] if n in known and n != "c" else 0.0 for n in names]
    datasets = []
    for level in range(levels):
        step = [2**level if n in SPATIAL[-dims:] else 1 for n in names]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": [a * b for a, b in zip(scale, step, strict=True)]}]
        if any(moved):  # the first pixel of every level is the first of the finest
            steps.append({"type": "translation", "translation": moved})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    kind = {"type": "nearest"} if levels > 1 else {}
    name = {} if image["name"] is None else {"name": image["name"]}
    version = {"version": VERSIONS[zarr_format]}
    source = {"source": {"image": "../../"}}
    if zarr_format == 2:
        found: dict[str, Any] = {"multiscales": [version | name | {"axes": axes, "datasets": datasets} | kind]}
        return found | ({"image-label": version | source} if labels else {})
    found = version | {"multiscales": [name | {"axes": axes, "datasets": datasets} | kind]}
    return {"ome": found | ({"image-label": source} if labels else {})}
