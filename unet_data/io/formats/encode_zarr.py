"""Results as .zarr (v3): one array; of an OME-Zarr, an OME-Zarr with its axes, pixel sizes and place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.untrusted.strict_json import read_json

from ...windows import Windows
from ..facts import FileFacts
from .ome_zarr import SPATIAL, result_axes, result_metadata

_WRITER = "unet-twins"
"""The mark of a .zarr folder that may be replaced."""
_CHUNK = {2: 512, 3: 64}
_OF_AN_ARRAY = {"zarr.json", "c"}


def import_zarr() -> Any:
    """The package zarr. Raises InputError where it is not installed."""
    try:
        import zarr
    except ModuleNotFoundError:
        raise InputError("zarr is not installed; pip install 'unet-twins[zarr]'") from None
    return zarr


def write_zarr(path: Path, images: Sequence[Windows], facts: FileFacts) -> None:
    """Writes images of one shape and dtype: (N, *spatial, K), N and K where there are several; of an OME-Zarr
    (T, K, *spatial), with T whatever it counts.

    Args:
        path: the folder to make.
        images: one or several.
        facts: of the file that they were computed from.
    """
    part, dims = images[0], images[0].spatial_dims
    size, values = part.shape[:dims], part.shape[dims:]
    chunk = tuple(min(_CHUNK[dims], n) for n in size)
    mark: dict[str, Any] = {"attributes": {"writer": _WRITER}}
    before = result_axes(facts, len(images), dims, math.prod(values) if values else 0)
    if before is None:
        counted = (len(images),) if len(images) > 1 else ()
        shape, chunks = (*counted, *size, *values), (*(1 for _ in counted), *chunk, *values)
        array = import_zarr().create_array(str(path), shape=shape, chunks=chunks, dtype=part.dtype, **mark)
    else:
        names, lengths = before
        counted, shape = tuple(n for name, n in zip(*before, strict=True) if name != "c"), (*lengths, *size)
        chunks = (*(n if name == "c" else 1 for name, n in zip(*before, strict=True)), *chunk)
        axes = (*names, *SPATIAL[-dims:])
        mark["attributes"] |= result_metadata(facts, axes)
        group = import_zarr().create_group(str(path), **mark)
        array = group.create_array("0", shape=shape, chunks=chunks, dtype=part.dtype, dimension_names=axes)
    for image, place in zip(images, np.ndindex(*counted), strict=True):
        for start in np.ndindex(*(-(-n // c) for n, c in zip(size, chunk, strict=True))):
            low = tuple(k * c for k, c in zip(start, chunk, strict=True))
            window = image.window(low, tuple(a + c for a, c in zip(low, chunk, strict=True)))
            at = tuple(slice(a, a + n) for a, n in zip(low, window.shape, strict=False))
            if before is None or not values:
                array[(*place, *at)] = window
            else:
                channel = before[0].index("c")
                array[(*place[:channel], slice(None), *place[channel:], *at)] = np.moveaxis(window, -1, 0)


def check_own_zarr(path: Path) -> None:
    """Raises InputError where a folder is to be replaced that no prediction wrote."""
    if path.is_symlink():
        raise InputError(f"{path}: is not a result of a prediction but a link; it is not replaced")
    try:
        metadata = read_json(path / "zarr.json")
        attributes = metadata.get("attributes") or {}
        plain = metadata["node_type"] == "array" and not attributes and _holds(path, attributes)
        own = attributes.get("writer") == _WRITER and _holds(path, attributes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        own = plain = False
    if plain:
        raise InputError(
            f"{path}: has no mark that a prediction wrote it (results of earlier versions have none); if it is one, "
            "delete it, it is not replaced"
        )
    if not own:
        raise InputError(f"{path}: is not a result of a prediction, or holds more; move it away, it is not replaced")


def _holds(path: Path, attributes: dict[str, Any]) -> bool:
    """Whether a folder has only what a result has."""
    entries = {p.name for p in path.iterdir()}
    if "ome" not in attributes:
        return entries <= _OF_AN_ARRAY
    return entries <= {"zarr.json", "0"} and {p.name for p in (path / "0").iterdir()} <= _OF_AN_ARRAY
