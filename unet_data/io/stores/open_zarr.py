"""Opens an array of zarr: by itself, or the level of an OME-Zarr, in a folder or behind a URL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from ..decode import one_line
from ..formats.encode_zarr import import_zarr
from ..formats.ome_zarr import level_facts
from .guarded import METADATA, guarded
from .remote import reported, shown, url_of

ENDING = ".zarr"


@dataclass(frozen=True)
class ZarrArray:
    """An open array.

    Attributes:
        shape, dtype: as stored.
        read: windows of it, by one slice an axis.
        axes: their names; () where nothing says them.
        facts: what OME metadata say of it, as arguments of `FileFacts`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[tuple[Any, ...]], np.ndarray]
    axes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def is_zarr(path: Path) -> bool:
    """By its name, or by what lies in it; of a URL, by its name or that of a folder above."""
    if url_of(path) is not None:
        return any(part.endswith(ENDING) for part in path.parts)
    return path.suffix == ENDING or (
        path.is_dir() and any((path / n).exists() for n in ("zarr.json", ".zarray", ".zgroup"))
    )


def open_array(path: Path) -> ZarrArray:
    """Opens the array at a path; of an OME-Zarr its largest level, or the level whose path it is.

    Raises:
        InputError: it cannot be read, or is a group without an image.
    """
    zarr = import_zarr()
    if url_of(path) is None and not path.is_dir():
        raise InputError(f"{path}: no such folder")
    try:
        with reported(path) if url_of(path) is not None else contextlib.nullcontext():
            store = guarded(path)
            node = zarr.open(store, mode="r")
            if hasattr(node, "keys"):  # a group: OME-Zarr keeps its largest level first
                scales = multiscales(node.attrs)
                if not scales:
                    raise InputError(f"{shown(path)}: {_no_image(dict(node.attrs))}")
                level = scales["datasets"][0]["path"]
                axes, known = level_facts(scales, level)
                node = node[level]
            else:
                axes, known = _of_level(path)
            return ZarrArray(node.shape, node.dtype, store.reader(node), axes, known)
    except InputError:
        raise
    except Exception as e:  # zarr's errors share no base class
        raise InputError(f"{shown(path)}: cannot be read as zarr ({one_line(e)})") from None


def ome_attributes(path: Path) -> Mapping[str, Any]:
    """The OME metadata of the group at a path, local or remote, of any version; empty where there are none."""
    with contextlib.suppress(Exception):  # zarr's errors share no base class; the caller says what is missing
        attributes = dict(import_zarr().open_group(guarded(path), mode="r").attrs)
        found = attributes.get("ome", attributes)
        return found if isinstance(found, Mapping) else {}
    return {}


def multiscales(attributes: Any) -> Mapping[str, Any]:
    """The first image of a group's attributes; empty where it has none."""
    found = dict(attributes)
    return (found.get("ome", found).get("multiscales") or [{}])[0]


def _no_image(attributes: Mapping[str, Any]) -> str:
    found = attributes.get("ome", attributes)
    if "plate" in found or "well" in found:
        what = "plate" if "plate" in found else "well"
        return f"is a {what} of images; give the path of one of its images, or use a command that takes folders"
    return "is a zarr group without OME metadata; give the path of one array in it"


def _of_level(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What the OME-Zarr around one of its levels says of it; nothing where there is none."""
    if url_of(path) is None and not any((path.parent / name).is_file() for name in METADATA):
        return (), {}
    with contextlib.suppress(Exception):  # zarr's errors share no base class; the array itself can be read
        scales = multiscales(import_zarr().open(guarded(path.parent), mode="r").attrs)
        if any(each["path"] == path.name for each in scales["datasets"]):
            return level_facts(scales, path.name)
    return (), {}
