"""Opens a folder or file as a `Dataset`: in memory, or as arrays that stay in their files and are read by windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from unet_spec.errors import InputError

from ...folders.layout import find_layout
from ...folders.pairing import Layout, Pair
from ...io.colours import parse_class_colors
from ...io.facts import DEFAULTS, FileFacts, ReadSettings, void
from ...io.readers import check_depth
from ...io.stores.remote import shown, url_of
from ...io.stores.signed import unsigned
from ...labels.agreement import check_agreement
from ...labels.mask_files import MaskReader
from ...windows import bands
from ..dataset import BINARY_CLASSES, MEMBRANE_CLASSES, Dataset
from ..label_rule import IGNORED, LabelKind, LabelRule, label_rule
from ..stored import Stored, as_array
from .contents import Arrays, Read, read_by_windows, read_masked, read_whole


def open_dataset(
    path: str | Path,
    spatial_dims: int = 2,
    kind: LabelKind = "auto",
    ignore: int | None = None,
    settings: ReadSettings | None = None,
    class_numbers: str = "",
) -> Dataset:
    """Reads a folder or a file into memory.

    The layout is recognised in this order:

        a file                                    its pictures, without labels
        a folder with *-volume.tif, *-labels.tif  stacks in name order (ISBI 2012); an unlabelled test-volume.tif is
                                                  left out; binary labels are called membrane and cell
        a folder with images/ and labels/, masks/ files paired by stem; the label may end in _mask, -mask, _label,
                                                  -label; without labels/ and masks/, images only;
                                                  docs/guides/reading.md lists other names of the folders
        a folder of image files                   in name order, without labels

    Args:
        path: the folder or file.
        spatial_dims: with 2, each page of a stack is one image (H, W, C), called stem-00, stem-01, …; with 3, each file
            is one volume (D, H, W, C).
        kind: meaning of the label numbers, "auto", "semantic" or "instance" (see `label_rule`). It is decided once for
            all files; `Dataset.source` states it unless labels are plain 0/1 or 0/255 masks. "overlapping": a pixel may
            have several classes, each of which has a mask: a file (labels/CLASS/NAME, labels/NAME_CLASS or
            labels/NAME/CLASS), or a channel or page of one file.
        ignore: the number that marks pixels to ignore; it need not occur.
        settings: how files are read if there is a choice. `Dataset.decisions` reports the decisions.
        class_numbers: the class numbers in the label files, in class order, if they are not 0, 1, …: "1-3", "255,0".
            For objects, the number of the background (see `label_rule`). For overlapping classes, the numbers of each:
            "whole=1-3;core=2,3".

    Raises:
        InputError: the folder is missing or empty, an image has no label or the reverse, sizes, channels or dtypes do
            not match, a file or its labels cannot be read.

    Example:
        >>> import tempfile
        >>> from unet_data import open_dataset, write_stack
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_stack(folder / "train-volume.tif", np.zeros((2, 8, 8), np.uint8))
        >>> write_stack(folder / "train-labels.tif", np.full((2, 8, 8), 255, np.uint8))
        >>> data = open_dataset(folder)
        >>> data.names, data.class_names, data.labels[0].max()
        (('train-volume-00', 'train-volume-01'), ('membrane', 'cell'), np.int32(1))
    """
    return _open(unsigned(path), spatial_dims, kind, ignore, class_numbers, settings or DEFAULTS, read_whole)


def open_stored(
    path: str | Path,
    spatial_dims: int = 2,
    kind: LabelKind = "auto",
    ignore: int | None = None,
    settings: ReadSettings | None = None,
    class_numbers: str = "",
) -> Dataset:
    """The data set of `open_dataset`, but its images, labels and instances stay in their files (`Stored`).

    The folder may also hold .npy files and .zarr folders, as images or labels. Their axes are (*spatial),
    (*spatial, C) with C up to 4, (N, *spatial) or (N, *spatial, C); those of an OME-Zarr are the ones it names.
    Uncompressed or tiled TIFF, .npy and .zarr are read by windows. A PNG or JPEG is decoded whole; those used last are
    cached. The labels of all files, read band by band, determine the meaning of their numbers. Masks of overlapping
    classes are held in memory, 4 bytes per pixel.

    Args:
        path, spatial_dims, kind, ignore, settings, class_numbers: as in `open_dataset`.

    Raises:
        InputError: as `open_dataset`, and if there are no labels.

    Example:
        >>> from unet_data import open_stored
        >>> for name in ("images", "labels"):
        ...     Path(name).mkdir()
        ...     np.save(f"{name}/a.npy", np.eye(16, dtype=np.uint8))
        >>> data = open_stored(".")
        >>> data.stored, data.images[0][4:6, 4:6].shape
        (True, (2, 2, 1))
    """
    return _open(unsigned(path), spatial_dims, kind, ignore, class_numbers, settings or DEFAULTS, read_by_windows)


def _open(
    path: Path,
    spatial_dims: int,
    kind: LabelKind,
    ignore: int | None,
    class_numbers: str,
    settings: ReadSettings,
    read: Read,
) -> Dataset:
    if spatial_dims not in (2, 3):
        raise InputError(f"spatial_dims must be 2 (images) or 3 (volumes), not {spatial_dims}")
    check_depth(settings, spatial_dims)
    layout = find_layout(path, kind == "overlapping")
    masks = MaskReader(layout.classes, spatial_dims, settings, ignore, class_numbers) if kind == "overlapping" else None
    images: Arrays = []
    labels: Arrays = []
    numbers: Arrays = []
    names: list[str] = []
    label_paths: list[Path] = []
    facts: list[FileFacts] = []
    label_facts: list[FileFacts] = []
    parts: list[str] = []

    def add(pair: Pair) -> None:
        found = read(pair, spatial_dims, settings) if masks is None else read_masked(read, pair, masks)
        images.extend(found.images)
        labels.extend(found.labels)
        numbers.extend(map(_numbers, found.labels))
        names.extend(_picture_names(pair.name, len(found.images)))
        label_paths.extend([pair.labels[0]] * len(found.labels) if pair.labels else ())
        facts.extend([found.facts] * len(found.images))
        label_facts.extend([found.label_facts] * len(found.labels))
        parts.extend([pair.part] * len(found.images))

    layout.for_each(add)
    if spatial_dims == 3 and {len(image) for image in images} == {1}:
        raise InputError(
            f"{shown(path)}: every file holds one plane, but the network is 3-D and needs volumes: TIFF files of "
            "several pages, .npy or .zarr"
        )
    if not labels:
        return Dataset(
            tuple(images),
            None,
            tuple(names),
            (),
            shown(path),
            path=_absolute(path),
            facts=tuple(facts),
            entries=layout.entries,
            reading=settings,
        )
    common: dict[str, Any] = {
        "images": tuple(images),
        "names": tuple(names),
        "ignore": ignore,
        "path": _absolute(path),
        "facts": tuple(facts),
        "label_facts": tuple(label_facts),
        "parts": tuple(parts) if any(parts) else (),
        "entries": layout.entries,
        "reading": settings,
    }
    if masks is not None:
        masks.check()
        known = tuple(_without_void(*each) for each in zip(labels, images, facts, strict=True))
        source = f"{shown(path)} ({masks.note})"
        return Dataset(labels=known, class_names=masks.names, source=source, overlapping=True, **common)
    check_agreement(label_paths, label_facts, numbers, settings)
    by_colour = parse_class_colors(settings.class_colors)
    if by_colour and not class_numbers:
        if kind == "instance":
            raise InputError("class colors are for classes, not for objects: leave out --labels instance")
        class_numbers = ",".join(str(number) for number in range(len(by_colour)) if number != ignore)
    rule = label_rule(numbers, label_paths, kind, ignore, class_numbers)
    class_names, note = _describe(rule, layout, kind)
    if by_colour:
        own = tuple(name for number, (name, _) in enumerate(by_colour) if number != ignore)
        named = all(own) and rule.class_numbers == tuple(n for n in range(len(by_colour)) if n != ignore)
        class_names, note = own if named else class_names, " (classes by colour)"
    instance = rule.kind == "instance"
    classes = tuple(_converted(label, rule, rule.apply) for label in labels)
    return Dataset(
        labels=tuple(_without_void(*each) for each in zip(classes, images, facts, strict=True)),
        class_names=class_names,
        source=shown(path) + note,
        instances=tuple(_converted(label, rule, rule.numbers) for label in labels) if instance else None,
        **common,
    )


def _absolute(path: Path) -> str:
    return url_of(path) or str(path.absolute())


def _numbers(label: np.ndarray) -> np.ndarray:
    """The label itself, or, if it stays in its file, each number that occurs in it once, read band by band."""
    if not isinstance(label, Stored):
        return label
    return np.unique(np.concatenate([np.unique(label[band]) for band in bands(label.shape)]))


def _converted(label: np.ndarray, rule: LabelRule, convert: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    if isinstance(label, Stored):
        return as_array(replace(label, convert=convert, reach=rule.reach))
    return convert(label)


def _without_void(label: np.ndarray, image: np.ndarray, facts: FileFacts) -> np.ndarray:
    """The label with IGNORED where the image has no data."""
    if facts.nodata is None:
        return label
    if isinstance(label, Stored):
        return as_array(replace(label, image=cast(Stored, image), nodata=facts.nodata))
    label[void(image, facts.nodata).all(-1)] = IGNORED
    return label


def _describe(rule: LabelRule, layout: Layout, kind: LabelKind) -> tuple[tuple[str, ...], str]:
    """The names of the classes, and a note on the rule for reports. `kind` is the requested kind."""
    if rule.classes > 2:
        names = tuple(f"class {index}" for index in range(rule.classes))
    else:
        names = MEMBRANE_CLASSES if layout.stacks and rule.kind == "binary" else BINARY_CLASSES
    if rule.kind == "binary":
        return names, ""
    read, other, flag = {
        "semantic": ("class indices", "number objects", "instance"),
        "instance": ("numbers of objects", "are classes", "semantic"),
    }[rule.kind]
    return names, f" (labels read as {read}{f'; if they {other}, pass --labels {flag}' * (kind == 'auto')})"


def _picture_names(stem: str, count: int) -> list[str]:
    """The names of the pictures of one file: stem, or stem-00, stem-01, … if there are several."""
    digits = max(2, len(str(count - 1)))
    return [stem] if count == 1 else [f"{stem}-{index:0{digits}d}" for index in range(count)]
