"""A labelled data set that does not fit in memory: its files are gone through once, and then read by windows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.dataset import Dataset, check_planes, describe, picture_names
from unet_data.labels import LabelKind, label_rule
from unet_data.layout import find_layout
from unet_data.stored import Stored, as_array, stored_pictures
from unet_data.tiles import bands
from unet_spec.errors import InputError


def open_stored(
    path: str | Path, spatial_dims: int = 2, kind: LabelKind = "auto", ignore: int | None = None
) -> Dataset:
    """The data set of `unet_data.open_dataset`, but its images, labels and instances stay in their files (`Stored`).

    The folder may also hold .npy files and .zarr folders, as images or labels; their axes are (*spatial),
    (*spatial, C) with C up to 4, (N, *spatial) or (N, *spatial, C), those of an OME-Zarr what it says. Uncompressed or
    tiled TIFF, .npy and .zarr are read by windows; a PNG or JPEG is decoded as a whole whenever a window of it is
    wanted and it is none of those used last.

    What the label numbers mean is decided as in memory, from all of them but `ignore`, band by band. Raises InputError
    as `open_dataset`, and where there are no labels.
    """
    if spatial_dims not in (2, 3):
        raise InputError(f"spatial_dims must be 2 (images) or 3 (volumes), not {spatial_dims}")
    path = Path(path)
    layout = find_layout(path, arrays=True)
    images: list[Stored] = []
    labels: list[Stored] = []
    names: list[str] = []
    values: list[np.ndarray] = []  # the label numbers of each file, once each
    label_paths = []

    def read(image_path: Path, label_path: Path | None) -> None:
        if label_path is None:
            raise InputError(f"{image_path}: has no label; what is read by windows is for training")
        own = stored_pictures(image_path, spatial_dims, "image")
        truth = stored_pictures(label_path, spatial_dims, "label")
        if len(own) != len(truth):
            raise InputError(f"{image_path}: has {len(own)} pictures but its label {label_path} has {len(truth)}")
        images.extend(own)
        labels.extend(truth)
        names.extend(picture_names(image_path.stem, len(own)))
        values.append(_numbers(truth))
        label_paths.append(label_path)

    layout.for_each(read)
    check_planes((image.spatial[0] for image in images), spatial_dims, path)
    rule = label_rule(values, label_paths, kind, ignore)
    class_names, told = describe(rule, layout, kind)

    def arrays(pictures: list[Stored], **changes: Any) -> tuple[np.ndarray, ...]:
        return tuple(as_array(replace(picture, **changes)) for picture in pictures)

    return Dataset(
        images=arrays(images),
        labels=arrays(labels, convert=rule.apply, reach=rule.reach),
        names=tuple(names),
        class_names=class_names,
        source=str(path) + told,
        instances=arrays(labels, convert=rule.numbers, reach=rule.reach) if rule.kind == "instance" else None,
        ignore=ignore,
        path=str(path.absolute()),
    )


def _numbers(labels: list[Stored]) -> np.ndarray:
    """The numbers that occur in the labels of one file, in their dtype."""
    parts = [np.unique(label[band]) for label in labels for band in bands(label.spatial)]
    return np.unique(np.concatenate(parts))
