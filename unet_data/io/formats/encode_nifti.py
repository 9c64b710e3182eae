"""Writes results as NIfTI, with the affine, units and time axis of the image if it was a NIfTI."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from ...windows import Windows
from ..facts import FileFacts
from .units import METRES, symbol

KEY = "nifti"
"""Key in `FileFacts.extra` of the bytes of a header, little-endian: NIfTI-1 (348 bytes) or NIfTI-2 (540)."""

ENDINGS = (".nii", ".nii.gz")
_UNITS = {"mm": "mm", "µm": "micron", "m": "meter"}
_LONGEST = 32767
"""Maximum length of an axis in NIfTI-1."""


def import_nibabel() -> Any:
    """The package nibabel. Raises InputError if it is not installed."""
    try:
        import nibabel
    except ModuleNotFoundError:
        raise InputError("NIfTI files need nibabel; pip install 'unet-twins[nifti]'") from None
    return nibabel


def elsewhere(image: FileFacts, label: FileFacts) -> str:
    """A description of a label that does not lie where its image lies, by the affines of both; "" if it does, or if a
    file states no affine.

    Programs that show NIfTI follow the affine, networks follow the voxels: a label that fits in a viewer can be
    mirrored for a network.
    """
    headers = [dict(facts.extra).get(KEY) for facts in (image, label)]
    if headers[0] is None or headers[1] is None or image.sizes[-3:] != label.sizes[-3:]:
        return ""
    nibabel = import_nibabel()
    found = [(nibabel.Nifti2Header if len(h) == 540 else nibabel.Nifti1Header)(h, check=False) for h in headers if h]
    if not all(int(header["sform_code"]) or int(header["qform_code"]) for header in found):
        return ""
    one, other = (header.get_best_affine() for header in found)
    codes = ["".join(c or "?" for c in nibabel.aff2axcodes(affine)) for affine in (one, other)]
    if codes[0] != codes[1]:
        return f"label has orientation {codes[1]} by its affine, its image {codes[0]}: is it mirrored or turned?"
    size = np.array([*image.sizes[-3:][::-1], 1, 1])[:3] - 1
    corners = np.array([(*(size * corner), 1) for corner in np.ndindex(2, 2, 2)])
    if np.abs(corners @ (one - other).T).max() > np.linalg.norm(one[:3, :3], axis=0).max():
        return "label lies more than a voxel from its image, by their affines: does it belong to it?"
    return ""


def write_nifti_windows(path: Path, images: Sequence[Windows], facts: FileFacts, compressed: bool) -> None:
    """Writes images of one shape and dtype as (x, y, z, t, K) in file order; z, t and K only if there are several.

    Args:
        path: the file.
        images: one or several, (*spatial) or (*spatial, K); for a 2-D network, the slices of a volume.
        facts: facts of the file from which they were computed.
        compressed: whether to use gzip; the same values give the same bytes.
    """
    part, dims = images[0], images[0].spatial_dims
    values, dtype = part.shape[dims:], np.dtype(np.float32) if part.dtype == np.float16 else part.dtype
    order, (times, depth) = _in_order(facts, len(images), dims)
    shape = [*part.shape[dims - 2 : dims][::-1], part.shape[0] if dims == 3 else depth, times, *values]
    if times == 1:  # then the fourth axis is that of values, as in nnU-Net
        del shape[3]
        if not values and shape[2] == 1 and dims == 2 and "Z" not in facts.axes:
            del shape[2]
    header = result_header(facts, tuple(shape), dtype)
    with ExitStack() as stack:
        file: Any = stack.enter_context(path.open("wb"))
        if compressed:
            file = stack.enter_context(gzip.GzipFile("", "wb", 6, file, 0))
        file.write(header.binaryblock + bytes(4))  # no extensions
        for value in range(math.prod(values)):
            for block in _blocks([images[i] for i in order]):
                chosen = block[..., value] if values else block
                file.write(np.ascontiguousarray(chosen, dtype.newbyteorder("<")).tobytes())


def _in_order(facts: FileFacts, count: int, dims: int) -> tuple[list[int], tuple[int, int]]:
    """The order of the images in a NIfTI: depth varies fastest, then time, then samples. Also the lengths of the time
    axis (with samples) and of the depth axis."""
    pairs = zip(facts.axes, facts.sizes, strict=False)
    counted = [(letter, n) for letter, n in pairs if letter in ("TZ" if dims == 2 else "T")]
    letters, lengths = [letter for letter, _ in counted], [n for _, n in counted]
    if count % (math.prod(lengths) or 1) or (KEY not in dict(facts.extra) and not letters and dims == 2):
        letters, lengths = ["Z"] if dims == 2 else ["T"], [count]  # the meaning of the pages is unknown
    numbers = np.arange(count).reshape(*lengths, -1)
    numbers = np.moveaxis(numbers, -1, 0)
    if letters == ["Z", "T"]:
        numbers = numbers.swapaxes(1, 2)
    depth = dict(zip(letters, lengths, strict=True)).get("Z", 1)
    return numbers.ravel().tolist(), (count // depth, depth)


def _blocks(images: Sequence[Windows]) -> Iterator[np.ndarray]:
    """All pixels in order, in blocks of a few rows or planes."""
    for image in images:
        size = image.shape[: image.spatial_dims]
        step = max(1, 2**24 // max(1, math.prod(image.shape[1:]) * image.dtype.itemsize))
        for low in range(0, size[0], step):
            yield image.window((low, *(0 for _ in size[1:])), (min(low + step, size[0]), *size[1:]))


def result_header(facts: FileFacts, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """The header of a result of this shape (x, y, z, …) and dtype: the image's header, or one with its pixel size."""
    nibabel = import_nibabel()
    stored = dict(facts.extra).get(KEY, b"")
    kind = nibabel.Nifti2Header if len(stored) == 540 or max(shape) > _LONGEST else nibabel.Nifti1Header
    if stored:
        source = (nibabel.Nifti2Header if len(stored) == 540 else nibabel.Nifti1Header)(stored)
        header = kind.from_header(source, check=False)
    else:
        header = kind(endianness="<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    header["pixdim"][4:] = np.where(header["pixdim"][4:] > 0, header["pixdim"][4:], 1)
    header["cal_min"], header["cal_max"] = 0, 0  # the display range of the image
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    if not stored and facts.spacing:
        name = symbol(facts.unit)
        unit = _UNITS.get(name, "micron" if name in METRES else "unknown")
        factor = 1.0 if name in _UNITS or name not in METRES else METRES[name] / METRES["µm"]
        steps = [step * factor for step in facts.spacing[::-1]]
        header["pixdim"][1 : 1 + len(steps)] = steps
        header.set_xyzt_units(unit)
    return header
