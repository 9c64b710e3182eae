"""Opens a zarr array, plain or a level of an OME-Zarr, in a folder or behind a URL."""

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
        shape, dtype: stored shape and dtype.
        read: reads a window, given as one slice per axis.
        axes: names of the axes; () if they are unknown.
        facts: facts from OME metadata, as arguments of `FileFacts`.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[tuple[Any, ...]], np.ndarray]
    axes: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def is_zarr(path: Path) -> bool:
    """Whether a path is a zarr, by its name or content; for a URL, by its name or that of a parent."""
    if url_of(path) is not None:
        return any(part.endswith(ENDING) for part in path.parts)
    return path.suffix == ENDING or (
        path.is_dir() and any((path / n).exists() for n in ("zarr.json", ".zarray", ".zgroup"))
    )


def open_array(path: Path) -> ZarrArray:
    """Opens the array at a path; for an OME-Zarr its largest level, or the level at that path.

    Raises:
        InputError: the array cannot be read, or the path is a group without an image.
    """
    zarr = import_zarr()
    if url_of(path) is None and not path.is_dir():
        raise InputError(f"{path}: no such folder")
    try:
        with reported(path) if url_of(path) is not None else contextlib.nullcontext():
            store = guarded(path)
            node = zarr.open(store, mode="r")
            if hasattr(node, "keys"):  # a group: the largest level of an OME-Zarr is the first
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
    """The OME metadata of any version of the group at a path, local or remote; empty if there are none."""
    with contextlib.suppress(Exception):  # zarr's errors share no base class; the caller reports what is missing
        attributes = dict(import_zarr().open_group(guarded(path), mode="r").attrs)
        found = attributes.get("ome", attributes)
        return found if isinstance(found, Mapping) else {}
    return {}


def multiscales(attributes: Any) -> Mapping[str, Any]:
    """The first image in a group's attributes; empty if there is none."""
    found = dict(attributes)
    return (found.get("ome", found).get("multiscales") or [{}])[0]


def _no_image(attributes: Mapping[str, Any]) -> str:
    found = attributes.get("ome", attributes)
    if "plate" in found or "well" in found:
        what = "plate" if "plate" in found else "well"
        return f"is a {what} of images; give the path of one of its images, or use a command that takes folders"
    return "is a zarr group without OME metadata; give the path of one array in it"


def _of_level(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Axes and facts of a level, from the OME-Zarr that contains it; empty if there is none."""
    if url_of(path) is None and not any((path.parent / name).is_file() for name in METADATA):
        return (), {}
    with contextlib.suppress(Exception):  # zarr's errors share no base class; the array itself can be read
        scales = multiscales(import_zarr().open(guarded(path.parent), mode="r").attrs)
        if any(each["path"] == path.name for each in scales["datasets"]):
            return level_facts(scales, path.name)
    return (), {}
