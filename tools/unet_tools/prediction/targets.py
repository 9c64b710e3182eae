"""The images of a prediction and the paths of their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unet_data.folders.far import TIFF
from unet_data.folders.layout import find_layout
from unet_data.folders.listing import account, title
from unet_data.io.formats.encode_zarr import labelled_image
from unet_data.io.readers import is_zarr
from unet_data.io.stores.hcs import fields, zarrs_in
from unet_data.io.stores.remote import shown, url_of
from unet_data.io.writers import SUFFIXES, check_no_inputs, ending
from unet_spec import InputError

from ..console import notes

_PICTURES = (".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jpx")


def targets(images: Sequence[Path], out: Path) -> dict[Path, Path]:
    """The result path of each image, determined before anything is computed.

    Args:
        images: files, OME-Zarr plates, folders, and URLs of zarr and TIFF.
        out: file for one image; folder for several, created if missing.

    Raises:
        InputError: two results would have the same name, or a result would replace an image.
    """
    found = [_files(path) for path in images]
    several = any([file for file, _ in each] != [path] for path, each in zip(images, found, strict=True))
    files = [file for each in found for file, _ in each]
    named = out.suffix or labelled_image(out) is not None
    if len(files) == 1 and not several and named and (not out.is_dir() or ending(out) == ".zarr"):
        return {files[0]: out}
    if out.is_file():
        raise InputError(f"{out} is a file; {len(files)} images need a folder")
    results = [out / name for each in found for _, name in each]
    if len(set(results)) != len(results):
        raise InputError(f"two images would have the same result file in {shown(out)}; rename one")
    check_no_inputs(results, files)
    if url_of(out) is None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise InputError(f"{out}: cannot create the folder: {e.strerror}") from None
    return dict(zip(files, results, strict=True))


def result_name(image: Path) -> str:
    """The image's name, with another ending if results cannot have the image's format."""
    if ending(image) in SUFFIXES:
        return image.name
    return f"{title(image)}{'.png' if image.suffix.lower() in _PICTURES else '.tif'}"


def _files(path: Path) -> list[tuple[Path, str]]:
    """The image, or the images of a folder or plate, each with the name of its result."""
    if is_zarr(path):
        if wells := fields(path):
            return [(field, f"{title(path)}-{'-'.join(field.relative_to(path).parts)}.zarr") for field in wells]
        return [(path, result_name(path) if path.suffix else f"{'-'.join(_inside(path))}.zarr")]
    if url_of(path) is not None and path.suffix.lower() in TIFF:
        return [(path, result_name(path))]
    if url_of(path) is not None:
        return [each for image in zarrs_in(path) for each in _files(image)]
    if not path.is_dir():
        return [(path, result_name(path))]
    layout = find_layout(path)
    if any(entry.status == "left out" for entry in layout.entries):
        for line in account(layout.entries):
            notes.print(f"{path}: {line}")
    return [each for pair in layout.pairs for each in _inner(pair.image)]


def _inner(path: Path) -> list[tuple[Path, str]]:
    return _files(path) if is_zarr(path) else [(path, result_name(path))]


def _inside(path: Path) -> list[str]:
    """The name of an OME-Zarr and the path inside it: for a.zarr/A/1/0: "a", "A", "1", "0"."""
    at = next((i for i, part in enumerate(path.parts) if part.endswith(".zarr")), len(path.parts) - 1)
    return [title(Path(path.parts[at])), *path.parts[at + 1 :]]


__all__ = ["result_name", "targets"]
