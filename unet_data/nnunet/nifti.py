"""Reads and writes NIfTI files with nibabel. The axes in memory are (z, y, x), as in nnU-Net."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import first_line, writing

from ..io.budget import check_memory
from ..io.decode import one_line

ENDINGS = (".nii.gz", ".nii")
_DEFLATE = 1040
"""Upper bound of the bytes that gzip can decompress from one byte (1032, and its header)."""


@dataclass(frozen=True)
class Image:
    """The image of a case.

    Attributes:
        values: (C, z, y, x) float32.
        spacing: millimetres per voxel (z, y, x). For a 2-D file, the first is 999 times the largest other one.
        source: nibabel's image of the first file; a result gets its header and affine.
        reoriented: whether values are in RAS order instead of the file's.
    """

    values: np.ndarray
    spacing: tuple[float, float, float]
    source: Any
    reoriented: bool


def read_nifti(paths: Sequence[Path], reorient: bool = False) -> Image:
    """Reads a case: one file per channel, or one file with the channels along its fourth axis.

    If `reorient`, the axes are turned to RAS. Raises InputError if a file is missing, damaged or has no scalars, if it
    does not have 2 to 4 axes, if files of a case differ in shape or spacing, and if nibabel is not installed.
    """
    if not paths:
        raise InputError("a case has no files")
    opened = [_open(path) for path in paths]
    arrays, spacings = [], []
    for path, image in zip(paths, opened, strict=True):
        _check(path, image)
        try:
            if reorient:
                image = _to_ras(image)
            # nibabel scales by the header in float64.
            values = np.asanyarray(image.dataobj).T
        except Exception as e:  # zlib, EOF, ValueError and others, from damaged bytes
            raise InputError(f"{path}: cannot be read, since it is incomplete or damaged ({one_line(e)})") from None
        zooms = [abs(float(z)) for z in image.header.get_zooms()[:3]][::-1]
        if values.ndim == 2:
            values, zooms = values[None], [max(zooms) * 999, *zooms]
        arrays.append(values if values.ndim == 4 else values[None])
        spacings.append(zooms)
    for path, values, zooms in zip(paths[1:], arrays[1:], spacings[1:], strict=True):
        if values.shape[1:] != arrays[0].shape[1:]:
            raise InputError(f"{path}: {values.shape[1:]} voxels, but {paths[0].name} has {arrays[0].shape[1:]}")
        if not np.allclose(zooms, spacings[0], rtol=1e-5):
            raise InputError(f"{path}: spacing {zooms}, but {paths[0].name} has {spacings[0]}")
    stacked = np.concatenate(arrays).astype(np.float32)
    z, y, x = spacings[0]
    return Image(stacked, (z, y, x), opened[0], reorient)


def write_nifti(path: Path, values: np.ndarray, like: Image) -> None:
    """Writes (z, y, x), or (K, z, y, x) with K as the fourth axis, with the affine and orientation of the file read.

    The write is atomic, and the same values give the same bytes. Raises InputError.
    """
    nibabel = import_nibabel()
    source = _to_ras(like.source) if like.reoriented else like.source
    array = values.T
    if like.source.ndim == 2:
        array = array[:, :, 0]
    header = source.header.copy()
    header.set_data_dtype(values.dtype)
    header.set_slope_inter(1, 0)
    image = type(source)(np.ascontiguousarray(array), source.affine, header)
    if like.reoriented:
        from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(like.source.affine))
        image = image.as_reoriented(back)
    content = nibabel.Nifti1Image.to_bytes(image)
    if path.name.endswith(".gz"):
        content = gzip.compress(content, compresslevel=6, mtime=0)
    with writing(path) as temporary:
        temporary.write_bytes(content)


def find_cases(sources: Sequence[Path], channels: int, ending: str = ".nii.gz") -> dict[str, list[Path]]:
    """The files of each case's channels, in order, by case name. A source is a folder or a file.

    By nnU-Net's convention, NAME_0000.nii.gz is channel 0 of NAME, and so on. A file with another name is a case by
    itself, for a network of one channel or with all channels in it.

    Raises InputError if a source does not exist or is empty, a channel is missing, or two cases have the same name.
    """
    cases: dict[str, list[Path]] = {}
    for source in sources:
        if source.is_dir():
            files = sorted(p for p in source.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))
            if not files:
                raise InputError(f"{source}: no file with the ending {ending}")
        elif source.is_file():
            files = [source]
        else:
            raise InputError(f"no such file or folder: {source}")
        for file in files:
            name, case = _case(file, channels)
            if cases.setdefault(name, case) != case:
                raise InputError(f"two cases have the name {name}: {cases[name][0]} and {case[0]}")
    return cases


def _case(file: Path, channels: int) -> tuple[str, list[Path]]:
    ending = next((e for e in ENDINGS if file.name.endswith(e)), None)
    if ending is None:
        raise InputError(f"{file}: not a NIfTI file; expected {' or '.join(ENDINGS)}")
    stem = file.name.removesuffix(ending)
    found = re.fullmatch(r"(.+)_\d{4}", stem)
    if found is None:
        return stem, [file]
    paths = [file.with_name(f"{found[1]}_{c:04d}{ending}") for c in range(channels)]
    if missing := [p for p in paths if not p.is_file()]:
        raise InputError(f"{missing[0]} is missing: the network takes {channels} channels, one file each")
    return found[1], paths


def case_targets(names: Iterable[str], out: Path, ending: str = ".nii.gz") -> dict[str, Path]:
    """The file of each case's result, by case name: `out` itself if it is a NIfTI file, else a file in folder `out`.

    Raises:
        InputError: `out` is one file for several cases, or a file of another kind.
    """
    names = list(names)
    if out.name.endswith(ENDINGS) and not out.is_dir():
        if len(names) != 1:
            raise InputError(f"{out} is one file; {len(names)} cases need a folder")
        return {names[0]: out}
    if out.is_file():
        raise InputError(f"{out} is a file, but not a NIfTI file; give a folder, or a name that ends with {ENDINGS[0]}")
    return {name: out / f"{name}{ending}" for name in names}


def import_nibabel() -> Any:
    """The package nibabel. Raises InputError if it is not installed."""
    try:
        import nibabel
    except ModuleNotFoundError:
        raise InputError("NIfTI files need nibabel; pip install 'unet-twins[nifti]'") from None
    return nibabel


def _open(path: Path) -> Any:
    nibabel = import_nibabel()
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    try:
        image = nibabel.load(path)
    except Exception as e:  # its readers raise many exceptions on other bytes
        raise InputError(f"{path}: cannot be read as NIfTI ({first_line(e)})") from None
    if not isinstance(image, nibabel.Nifti1Image):
        raise InputError(f"{path}: {type(image).__name__}, not NIfTI")
    return image


def _check(path: Path, image: Any) -> None:
    """Raises InputError unless voxels are scalars with 2 to 4 axes that fit the file's size and the memory."""
    shape, dtype = image.shape, image.get_data_dtype()
    if not 2 <= len(shape) <= 4 or dtype.kind not in "buif" or not all(n > 0 for n in shape):
        raise InputError(f"{path}: shape {shape} of {dtype}; expected scalars with 2 to 4 axes")
    claimed, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size
    if claimed > _DEFLATE * stored:
        raise InputError(f"{path}: incomplete or damaged: its header declares {claimed} bytes of voxels")
    check_memory(path, math.prod(shape) * 16, stored, "its voxels need")  # float64, then float32
    try:
        type(image)(np.zeros((1, 1, 1), np.uint8), image.affine, image.header)
    except Exception as e:  # an affine that a result cannot have
        raise InputError(f"{path}: its affine matrix or header is damaged ({one_line(e)})") from None


def _to_ras(image: Any) -> Any:
    from nibabel.orientations import io_orientation

    return image.as_reoriented(io_orientation(image.affine))
