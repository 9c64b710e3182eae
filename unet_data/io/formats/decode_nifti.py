"""Reads NIfTI volumes with nibabel: (z, y, x) in the file's order, with their spacing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from ..decode import check_claim
from ..facts import FileFacts
from .encode_nifti import KEY, import_nibabel


def decode_nifti(path: Path) -> tuple[np.ndarray, FileFacts]:
    """See `decode`. Voxels are (z, y, x, C), scaled by the header. A fourth axis is read as channels."""
    nibabel = import_nibabel()
    image: Any = nibabel.load(path)
    shape = tuple(map(int, image.shape))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 2 <= len(shape) <= 4 or image.get_data_dtype().kind not in "buif":
        raise InputError(f"{path}: shape {image.shape} of {image.get_data_dtype()}; expected scalars with 2 to 4 axes")
    check_claim(path, shape, 8)  # scaling by the header gives float64
    values = np.asanyarray(image.dataobj).reshape(shape).T
    axes = "CZYX"[-len(shape) :]
    facts = FileFacts(
        str(image.get_data_dtype()),
        axes,
        values.shape,
        spacing=tuple(abs(float(z)) for z in image.header.get_zooms()[:3])[::-1],
        unit=image.header.get_xyzt_units()[0].replace("unknown", ""),
        extra=((KEY, _header(image.header)),),
    )
    volume = values[None] if values.ndim == 2 else values
    return np.moveaxis(volume, 0, -1) if volume.ndim == 4 else volume[..., None], facts


def _header(header: Any) -> bytes:
    return (header if header.endianness == "<" else header.as_byteswapped("<")).binaryblock


def as_times(stack: np.ndarray, facts: FileFacts) -> tuple[np.ndarray, FileFacts]:
    """Reads the fourth axis as time, for a network with one channel.

    Args:
        stack: (z, y, x, T), from `decode_nifti`.
        facts: its facts.

    Returns:
        Pages (T · z, y, x, 1), volume after volume; and the facts with these axes.
    """
    *size, times = stack.shape
    pages = np.moveaxis(stack, -1, 0).reshape(-1, *size[1:], 1)
    note = f"fourth axis read as {times} time points, since the network takes one channel"
    return pages, replace(facts, axes="TZYX", sizes=(times, *size), read_as=(note,))
