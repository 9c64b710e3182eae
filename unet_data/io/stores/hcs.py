"""Finds the images of plates and wells of high-content screening (HCS), and label images, in OME-Zarr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unet_spec.errors import InputError

from .open_zarr import ome_attributes
from .remote import names, shown


def fields(path: Path) -> list[Path]:
    """The images of a plate or a well, in the order of its metadata: row, column, field. Empty for other groups.

    Args:
        path: path of a .zarr folder, or a URL.

    Raises:
        InputError: a well of the plate cannot be read, or the metadata list nothing, or a path outside of the group.

    Example:
        >>> fields(Path("image.zarr"))
        []
    """
    found = ome_attributes(path)
    if "well" in found:
        return [path / name for name in _paths(found["well"], "images", path)]
    if "plate" not in found:
        return []
    images: list[Path] = []
    for name in _paths(found["plate"], "wells", path):
        well = path / name
        inside = ome_attributes(well).get("well")
        if inside is None:
            raise InputError(
                f"{shown(well)}: is listed as a well of the plate, but cannot be read as one; repair or remove it"
            )
        images += [well / field for field in _paths(inside, "images", well)]
    return images


def zarrs_in(path: Path) -> list[Path]:
    """The .zarr entries of a folder behind a URL, sorted by name. Raises InputError if there is none."""
    if not (found := sorted(name for name in names(path) if name.endswith(".zarr"))):
        raise InputError(
            f"{shown(path)}: contains no .zarr; give the URL of a TIFF or, for training, a folder with TIFFs in "
            "images/ and labels/; copy other files first"
        )
    return [path / name for name in found]


def label_images(path: Path) -> list[Path]:
    """The label images of an OME-Zarr image, in the order of its metadata.

    Raises:
        InputError: the metadata list a path outside of the group.
    """
    found = ome_attributes(path / "labels")
    return [path / "labels" / name for name in _names(found.get("labels") or (), path / "labels")]


def _paths(entry: Any, key: str, where: Path) -> list[str]:
    entries = entry.get(key) if isinstance(entry, Mapping) else None
    listed = entries if isinstance(entries, list) else []
    found = _names([e.get("path") if isinstance(e, Mapping) else None for e in listed], where)
    if not found:
        raise InputError(f"{shown(where)}: its metadata list no {key}")
    return found


def _names(found: Any, where: Path) -> list[str]:
    for name in found:
        parts = name.split("/") if isinstance(name, str) else [""]
        if any(part in ("", ".", "..") for part in parts):
            raise InputError(f"{shown(where)}: its metadata list {name!r}, which is not a path in it")
    return list(found)
