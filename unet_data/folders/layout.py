"""Recognises the layout of a folder: its images, its labels, and their pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from unet_spec.errors import InputError

from ..io.decode import FROM_DICOM
from ..io.stores.hcs import fields, label_images, zarrs_in
from ..io.stores.open_zarr import is_zarr
from ..io.stores.remote import url_of
from .far import TIFF, far_folder, far_tiff
from .listing import Entry, list_folder, title, what_lies_there
from .pairing import LABEL_ENDING, PARTS, Layout, Pair, made_layout, name_of, paired

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "imagestr", "jpegimages")
LABEL_FOLDERS = ("labels", "label", "masks", "mask", "annotations", "annotation", "labelstr", "segmentationclass", "gt")
_EXPECTED = (
    "expected images/ with labels/ or masks/, train/ and val/ of these, *-volume.tif with *-labels.tif, or image files"
)


def find_layout(path: Path, masks: bool = False) -> Layout:
    """Recognises the layout of a file or folder by the rules of `open_dataset`.

    Args:
        path: a file or folder.
        masks: whether several label files of an image are the masks of one class each.

    Raises:
        InputError: the path does not exist, no layout fits, or an image or label has no partner.
    """
    if url_of(path) is not None:
        if is_zarr(path):
            return _ome_zarrs([path], masks)
        if path.suffix.lower() in TIFF:
            return far_tiff(path)
        return far_folder(path, IMAGE_FOLDERS, LABEL_FOLDERS, masks) or _ome_zarrs(zarrs_in(path), masks)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix == ".zarr":
        return _ome_zarrs([path], masks)
    if not path.is_dir():
        return made_layout([Pair(path, (), title(path))])
    folders = {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_dir() and entry.name[0] != "."}
    for recognise in (_stacks, _images_and_labels, _parts, _suffixed_folders, _objects):
        if (layout := recognise(path, folders, masks)) is not None:
            return layout
    return _flat(path, masks)


def _unused(path: Path, used: Iterable[Path]) -> list[Entry]:
    """Top-level entries that are not part of the data set."""
    used = set(used)
    return [
        Entry(entry, "left out", "hidden" if entry.name.startswith(".") else "outside the folders of the data set")
        for entry in sorted(path.iterdir())
        if entry not in used
    ]


def _stacks(path: Path, folders: dict[str, Path], masks: bool) -> Layout | None:
    """*-volume.tif with *-labels.tif."""
    listing = list_folder(path, skip=folders.values())
    tiffs = {key: file for key, file in listing.files.items() if file.suffix.lower() in (".tif", ".tiff")}
    volumes, labels = (
        {key.removesuffix(ending): file for key, file in tiffs.items() if key.endswith(ending)}
        for ending in ("-volume", "-labels")
    )
    if labels and not volumes and len(labels) == len(listing.files):
        raise InputError(f"{labels[min(labels)]}: has no volume; expected {min(labels)}-volume.tif beside it")
    if not volumes or not (labels or len(volumes) == len(listing.files)):
        return None
    for key in labels:
        if key not in volumes:
            raise InputError(f"{labels[key]}: has no volume; expected {key}-volume.tif beside it")
    for key, volume in volumes.items():
        # The challenge has test-volume.tif without labels in the same folder. It is not training data.
        if labels and key not in labels and key != "test":
            raise InputError(f"{volume}: has no labels; expected {key}-labels.tif beside it")
    chosen = {key: volume for key, volume in volumes.items() if not labels or key in labels}
    pairs = [Pair(volume, (labels[key],) if labels else (), title(volume)) for key, volume in chosen.items()]
    used = {file for pair in pairs for file in (pair.image, *pair.labels)}
    others = [Entry(f, "left out", "not a stack of the data set") for f in listing.files.values() if f not in used]
    beside = [Entry(f, "left out", "not one of the stacks of the data set") for f in folders.values()]
    return made_layout(pairs, [*others, *listing.left_out, *beside], stacks=True)


def _images_and_labels(path: Path, folders: dict[str, Path], masks: bool) -> Layout | None:
    images = [folders[name] for name in folders if name.lower() in IMAGE_FOLDERS]
    if not images:
        return None
    if len(images) > 1:
        raise InputError(f"{path}: has both {images[0].name}/ and {images[1].name}/; keep only one of them")
    labels = [folders[name] for name in folders if name.lower() in LABEL_FOLDERS]
    listings = {folder: list_folder(folder) for folder in labels}
    labels = [folder for folder in labels if listings[folder].files or listings[folder].empty]  # VOC's contain XML
    if len(labels) > 1:
        raise InputError(f"{path}: has both {labels[0].name}/ and {labels[1].name}/; keep only one of them")
    found = list_folder(images[0])
    if not found.files:
        raise InputError(f"{images[0]}: has no images ({what_lies_there(images[0]) or 'it is empty'}); {_EXPECTED}")
    left = _unused(path, (images[0], *labels))
    own = listings[labels[0]] if labels else None
    return paired(found, own, left, lenient=images[0].name == "JPEGImages", masks=masks)


def _parts(path: Path, folders: dict[str, Path], masks: bool) -> Layout | None:
    """train/ and val/, each with a layout of its own."""
    found = {folder: PARTS[name.lower()] for name, folder in folders.items() if name.lower() in PARTS}
    if not any(part == "training" for part in found.values()) or f"{_first(found).name}_masks" in folders:
        return None
    pairs, left = [], _unused(path, found)
    for folder, part in found.items():
        if part == "test":
            left.append(Entry(folder, "left out", "test data"))
            continue
        layout = find_layout(folder, masks)
        pairs += [replace(pair, name=f"{folder.name}-{pair.name}", part=part) for pair in layout.pairs]
        left += [entry for entry in layout.entries if entry.status == "left out"]
    return made_layout(pairs, left)


def _suffixed_folders(path: Path, folders: dict[str, Path], masks: bool) -> Layout | None:
    """NAME with NAME_masks, or the Cell Tracking Challenge's 01 with 01_GT/SEG."""
    pairs: list[Pair] = []
    left, used = [], []
    for name, folder in folders.items():
        suffix = next((s for s in ("_masks", "_mask", "_labels", "_GT", "_ST") if name + s in folders), None)
        if suffix is None:
            continue
        labels = folders[name + suffix]
        tracked = suffix in ("_GT", "_ST")
        own = list_folder(labels / "SEG" if tracked else labels)
        layout = paired(list_folder(folder), own, [], tracked, tracked, masks)
        pairs += [replace(pair, name=f"{name}-{pair.name}") for pair in layout.pairs]
        left += [entry for entry in layout.entries if entry.status == "left out"]
        used += [folder, labels]
    return made_layout(pairs, [*left, *_unused(path, used)]) if pairs else None


def _objects(path: Path, folders: dict[str, Path], masks: bool) -> Layout | None:
    """One folder per image, with images/ and masks/; each mask is one object (DSB-2018)."""
    own = [f for f in folders.values() if (f / "images").is_dir() and (f / "masks").is_dir()]
    if not own:
        return None
    pairs, left = [], _unused(path, own)
    for folder in own:
        images, labels = list_folder(folder / "images"), list_folder(folder / "masks")
        if len(images.files) != 1 or not labels.files:
            raise InputError(
                f"{folder}: has {len(images.files)} images and {len(labels.files)} masks; expected 1 image"
            )
        classes = tuple(labels.files) if masks else ()
        pairs.append(Pair(_first(images.files.values()), tuple(labels.files.values()), folder.name, classes=classes))
        left += [*images.left_out, *labels.left_out, *_unused(folder, (folder / "images", folder / "masks"))]
    return made_layout(pairs, left)


def _flat(path: Path, masks: bool) -> Layout:
    """Image files, also in subfolders, with or without label files beside them."""
    listing = list_folder(path)
    labels = {key for key in listing.files if (own := LABEL_ENDING.sub("", key)) != key and own in listing.files}
    if labels:
        images, others = (
            replace(listing, files={k: f for k, f in listing.files.items() if (k in labels) == kind}, left_out=())
            for kind in (False, True)
        )
        return paired(images, others, list(listing.left_out))
    top = [file for file in listing.files.values() if file.parent == path]
    if not top:
        inside = what_lies_there(path)
        found = f"found {inside}" if inside else "it is empty"
        dicom = any(entry.path.suffix.lower() == ".dcm" for entry in listing.left_out)
        raise InputError(f"{path}: has no images ({found}); {f'DICOM: {FROM_DICOM}' if dicom else _EXPECTED}")
    zarrs = [file for file in listing.files.values() if file.suffix == ".zarr"]
    if len(zarrs) == len(listing.files):
        return _ome_zarrs(zarrs, masks, listing.left_out)
    return made_layout([Pair(f, (), name_of(k, f)) for k, f in listing.files.items()], listing.left_out)


def _ome_zarrs(paths: Iterable[Path], masks: bool, left: Iterable[Entry] = ()) -> Layout:
    """Images in .zarr, including those of plates, with the label images inside them."""
    pairs, left = [], list(left)
    for path in paths:
        for image in fields(path) or [path]:
            labels = label_images(image)
            used = labels if masks else labels[:1]
            left += [
                Entry(each, "left out", f"{labels[0].name} is the first label image") for each in labels[len(used) :]
            ]
            name = "-".join((title(path), *image.relative_to(path).parts))
            classes = tuple(each.name for each in used) if masks else ()
            pairs.append(Pair(image, tuple(used), name, classes=classes))
    if any(pair.labels for pair in pairs):
        left += [Entry(pair.image, "left out", "has no label image") for pair in pairs if not pair.labels]
        pairs = [pair for pair in pairs if pair.labels]
    return made_layout(pairs, left)


def _first(values: Iterable[Path]) -> Path:
    return next(iter(values))
