"""Writes results as .zarr, in a folder or at a URL: an array, or an OME-Zarr with axes, pixel size and a pyramid.

    a.zarr                   one array (v3), or an OME-Zarr if the image is one
    a.ome.zarr               an OME-Zarr, for any image
    image.zarr/labels/NAME   a label image of that OME-Zarr, in its version, 0.4 or 0.5

At a URL, where nothing can be renamed, the root's metadata are written last: until then the result cannot be opened.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import replacing
from unet_spec.untrusted.strict_json import parse_json, read_json

from ...windows import Windows
from ..facts import FileFacts
from ..stores import remote
from ..stores.remote import shown, url_of
from .ome_zarr import SPATIAL, VERSIONS, as_ome, result_axes, result_metadata

_WRITER = "unet-twins"
"""Mark of a .zarr folder that a prediction wrote, and may replace."""
_CHUNK = {2: 512, 3: 64}
_BLOCK = {2: 4, 3: 2}
"""By number of dimensions: chunks per axis that are sent to a URL together."""
_ROOT = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")
_OF_AN_ARRAY = {"zarr.json", "c"}


def import_zarr() -> Any:
    """The package zarr. Raises InputError if it is not installed."""
    try:
        import zarr
    except ModuleNotFoundError:
        raise InputError("zarr is not installed; pip install 'unet-twins[zarr]'") from None
    return zarr


def labelled_image(path: Path) -> Path | None:
    """The OME-Zarr in which a path is a label image; None for other paths.

    Example:
        >>> labelled_image(Path("a.zarr/labels/cells")), labelled_image(Path("labels/cells.zarr"))
        (PosixPath('a.zarr'), None)
    """
    inside = path.parent.name == "labels" and any(part.endswith(".zarr") for part in path.parent.parts)
    return path.parent.parent if inside else None


def is_ome_target(path: Path) -> bool:
    """Whether a result with this path is always an OME-Zarr."""
    return path.name.lower().endswith(".ome.zarr") or labelled_image(path) is not None


def write_zarr(path: Path, images: Sequence[Windows], facts: FileFacts, target: Path | None = None) -> None:
    """Writes images of one shape and dtype as (N, *spatial, K), with N and K only if there are several.

    An OME-Zarr has the axes (T, K, *spatial), where T stands for the image's other axes.

    Args:
        path: the folder to make, or a URL.
        images: one or several.
        facts: facts of the file from which they were computed.
        target: the final path, see above, if `path` is temporary.
    """
    target, zarr = target or path, import_zarr()
    part, dims = images[0], images[0].spatial_dims
    size, values = part.shape[:dims], part.shape[dims:]
    chunk = tuple(min(_CHUNK[dims], n) for n in size)
    image = labelled_image(target)
    form = 3 if image is None else _zarr_format(image)
    facts = as_ome(facts, len(images), dims) if is_ome_target(target) else facts
    store = str(path) if url_of(path) is None else _held_back(path)
    block = 1 if url_of(path) is None else _BLOCK[dims]
    mark: dict[str, Any] = {"attributes": {"writer": _WRITER}}
    before = result_axes(facts, len(images), dims, math.prod(values) if values else 0)
    if before is None:
        counted = (len(images),) if len(images) > 1 else ()
        shape, chunks = (*counted, *size, *values), (*(1 for _ in counted), *chunk, *values)
        arrays = [zarr.create_array(store, shape=shape, chunks=chunks, dtype=part.dtype, **mark)]
        channel = None
    else:
        names, lengths = before
        counted = tuple(n for name, n in zip(*before, strict=True) if name != "c")
        channel = names.index("c") if values else None
        axes = (*names, *SPATIAL[-dims:])
        levels = _levels(size, dims) if image is None else _levels_of(image)
        mark["attributes"] |= result_metadata(facts, axes, dims, levels, form, image is not None)
        group, arrays = zarr.create_group(store, zarr_format=form, **mark), []
        own: dict[str, Any] = {"dimension_names": axes} if form == 3 else {"chunk_key_encoding": _SLASHES}
        for level in range(levels):
            finer = tuple(-(-n // 2**level) for n in size)
            chunks = (*(n if name == "c" else 1 for name, n in zip(*before, strict=True)), *map(min, chunk, finer))
            made = group.create_array(str(level), shape=(*lengths, *finer), chunks=chunks, dtype=part.dtype, **own)
            arrays.append(made)
    for level, array in enumerate(arrays):
        for each, place in zip(images, np.ndindex(*counted), strict=True):
            _write_image(array, each, place, channel, 2**level, tuple(block * c for c in chunk))
    if not isinstance(store, str):
        store.commit()


_SLASHES = {"name": "v2", "separator": "/"}


def _levels(size: tuple[int, ...], dims: int) -> int:
    """Number of pyramid levels: as in a TIFF, the coarsest level is at most two chunks long."""
    levels = 1
    while max(size) >> (levels - 1) > 2 * _CHUNK[dims]:
        levels += 1
    return levels


def _write_image(
    array: Any, image: Windows, place: tuple[int, ...], channel: int | None, step: int, block: tuple[int, ...]
) -> None:
    """Writes every `step`-th pixel of an image to its position in an array, block by block."""
    size = image.shape[: image.spatial_dims]
    for start in np.ndindex(*(-(-n // (b * step)) for n, b in zip(size, block, strict=True))):
        low = tuple(k * b * step for k, b in zip(start, block, strict=True))
        window = image.window(low, tuple(a + b * step for a, b in zip(low, block, strict=True)), step)
        at = tuple(slice(a // step, a // step + n) for a, n in zip(low, window.shape, strict=False))
        if channel is None:
            array[(*place, *at)] = window
        else:
            array[(*place[:channel], slice(None), *place[channel:], *at)] = np.moveaxis(window, -1, 0)


def _levels_of(image: Path) -> int:
    """Number of levels of an image. By NGFF, its labels must have as many."""
    form = _zarr_format(image)
    metadata = _json(image / ("zarr.json" if form == 3 else ".zattrs")) or {}
    entry = metadata["attributes"]["ome"] if form == 3 else metadata
    return len(entry["multiscales"][0]["datasets"])


def _zarr_format(image: Path) -> int:
    return 3 if remote.exists(image / "zarr.json") else 2


def _held_back(path: Path) -> Any:
    """A zarr store for a URL that writes the metadata of its root only in `commit`."""
    from zarr.storage import WrapperStore

    class HeldBack(WrapperStore):
        def __init__(self, store: Any):
            super().__init__(store)
            self.held: dict[str, bytes] = {}

        async def set(self, key: str, value: Any) -> None:
            if key in _ROOT:
                self.held[key] = value.to_bytes()
            else:
                await super().set(key, value)

        async def set_if_not_exists(self, key: str, value: Any) -> None:
            if key not in _ROOT:
                await super().set_if_not_exists(key, value)
            else:
                self.held.setdefault(key, value.to_bytes())

        def commit(self) -> None:
            for key in sorted(self.held, key=_ROOT.index, reverse=True):  # .zattrs, then the file that marks a group
                remote.write(path / key, self.held[key])

    return HeldBack(remote.zarr_store(path, read_only=False))


def add_label(path: Path) -> None:
    """Adds a label image to its OME-Zarr's list of labels, so that readers find it."""
    form = _zarr_format(path.parent.parent)
    key = path.parent / ("zarr.json" if form == 3 else ".zattrs")
    metadata = _json(key) or ({"zarr_format": 3, "node_type": "group", "attributes": {}} if form == 3 else {})
    attributes = metadata["attributes"] if form == 3 else metadata
    entry = attributes.setdefault("ome", {"version": VERSIONS[3]}) if form == 3 else attributes
    if path.name in (names := entry.setdefault("labels", [])):
        return
    names.append(path.name)
    if form == 2:
        _put(path.parent / ".zgroup", {"zarr_format": 2})
    _put(key, metadata)


def _put(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2)
    if url_of(path) is not None:
        return remote.write(path, text.encode())
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _json(path: Path) -> dict[str, Any] | None:
    """The content of a metadata file; None if it does not exist."""
    if not remote.exists(path):
        return None
    return read_json(path) if url_of(path) is None else parse_json(remote.read(path).decode(), Path(shown(path)))


def check_own_zarr(path: Path) -> None:
    """Raises InputError unless a prediction wrote the folder, which is to be replaced."""
    where = shown(path)
    if path.is_symlink():
        raise InputError(f"{where}: is a link, not a result of a prediction, so it is not replaced")
    try:
        metadata: Any = _json(path / "zarr.json")
        if metadata is None:
            metadata = {"attributes": _json(path / ".zattrs"), "node_type": "group"}
        attributes = metadata.get("attributes") or {}
        plain = metadata["node_type"] == "array" and not attributes and _holds(path, attributes)
        own = attributes.get("writer") == _WRITER and _holds(path, attributes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        own = plain = False
    if plain:
        raise InputError(
            f"{where}: is not marked as a result of a prediction, so it is not replaced; if it is a result of an "
            "earlier version, delete it"
        )
    if not own:
        raise InputError(
            f"{where}: is not a result of a prediction, or contains more, so it is not replaced; move it elsewhere"
        )


def _holds(path: Path, attributes: dict[str, Any]) -> bool:
    """Whether a folder contains only files of a result."""
    entries = _names(path)
    if "ome" not in attributes and "multiscales" not in attributes:
        return entries <= _OF_AN_ARRAY
    levels = {name for name in entries if name.isdigit()}
    if "multiscales" in attributes:  # a label image of version 0.4, with chunks in numbered folders
        inside = {name for level in levels for name in _names(path / level) if not name.isdigit()}
        return entries - levels <= {".zgroup", ".zattrs"} and inside <= {".zarray", ".zattrs"}
    return entries - levels <= {"zarr.json"} and all(_names(path / level) <= _OF_AN_ARRAY for level in levels)


def _names(path: Path) -> set[str]:
    return {p.name for p in path.iterdir()} if url_of(path) is None else remote.names(path)
