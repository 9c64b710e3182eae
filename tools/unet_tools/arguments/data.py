"""Opens the data set of a command: a path, or synthetic images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unet_data import (
    Dataset,
    ReadSettings,
    TargetSpacing,
    cells,
    membranes,
    open_dataset,
    open_stored,
    resample_dataset,
)
from unet_data.datasets.label_rule import LabelKind
from unet_data.datasets.splitting import divide
from unet_data.datasets.synthetic.microscope import Style
from unet_data.folders.layout import find_layout
from unet_data.folders.listing import account
from unet_data.io.stores.open_zarr import is_zarr, open_array
from unet_data.io.stores.remote import size, url_of
from unet_spec import Checkpoint, InputError

Subset = Literal["all", "train", "validation"]

LARGE = 2**30
"""Size of image files, in bytes, above which they are read by windows by default."""

SYNTHETIC = {2: (24, 384), 3: (6, 96)}
"""Number of images, and pixels per axis, of the data sets "synthetic…", by spatial dimensions."""

DRAWN: dict[str, Style | None] = {
    "synthetic": None,
    "synthetic:phase-contrast": "phase-contrast",
    "synthetic:dic": "dic",
}
"""Names of synthetic data sets: membranes, or cells in a microscope with numbered objects as labels."""


def open_data(
    name: str,
    spatial_dims: int = 2,
    seed: int = 0,
    stored: bool | None = False,
    ignore: int | None = None,
    kind: LabelKind = "auto",
    reading: ReadSettings | None = None,
    class_numbers: str = "",
) -> Dataset:
    """Opens the data set that a command names.

    Args:
        name: a path (see `unet_data.open_dataset`), or a name of DRAWN: 24 images, or 6 volumes of membranes in 3-D.
        spatial_dims: 2 for images, 3 for volumes.
        seed: seed of synthetic images.
        stored: do not load the images of a path into memory (see `unet_data.datasets.opening`). None: if they are
            LARGE.
        ignore: label number of pixels that do not count.
        kind: meaning of the other label numbers.
        reading: how files are read if there is a choice.
        class_numbers: numbers of the classes, in order.

    Raises:
        InputError: the path does not contain a data set, or the name is unknown.
    """
    if name in DRAWN:
        return replace(_drawn(name, spatial_dims, seed), ignore=ignore, path=name)
    if name.startswith("synthetic:") and not Path(name).exists():
        raise InputError(f"{name}: unknown data; choose from {', '.join(DRAWN)}, or give a folder")
    if stored is None:
        stored = _by_windows(Path(name), kind == "overlapping")
    return (open_stored if stored else open_dataset)(name, spatial_dims, kind, ignore, reading, class_numbers)


def calibration_images(name: str, checkpoint: Checkpoint) -> tuple[np.ndarray, ...]:
    """The images from which int8 ranges are measured, with the pixel size that the network expects.

    Args:
        name: as in `open_data`.
        checkpoint: the network and its data spec.

    Raises:
        InputError: as `open_data`.
    """
    dataset = open_data(name, checkpoint.config.spatial_dims)
    return resample_dataset(dataset, TargetSpacing.of(checkpoint.data)).images


def _drawn(name: str, spatial_dims: int, seed: int) -> Dataset:
    count, size = SYNTHETIC[spatial_dims]
    style = DRAWN[name]
    if style is None:
        return membranes(count, size, seed, spatial_dims=spatial_dims)
    if spatial_dims != 2:
        raise InputError(f"{name}: generates 2-D images; the network is {spatial_dims}-D")
    return cells(count, size, seed, style)


def _by_windows(path: Path, masks: bool) -> bool:
    """Whether `open_stored` reads this path: its labelled files are LARGE."""
    pairs = find_layout(path, masks).pairs
    return all(pair.labels for pair in pairs) and sum(_bytes(pair.image) for pair in pairs) > LARGE


def _bytes(path: Path) -> int:
    if url_of(path) is not None:
        if not is_zarr(path):
            return size(path) or 0
        found = open_array(path)
        return math.prod(found.shape) * found.dtype.itemsize
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size


def account_for(dataset: Dataset, verbose: bool = False) -> list[str]:
    """Lines about the files in use and the decisions made while reading them, which a command prints once."""
    return [*account(dataset.entries, verbose), *dataset.decisions] if dataset.entries else []


def accounted(dataset: Dataset) -> dict[str, Any]:
    """The facts of `account_for`, for `--json` and run.json."""
    left_out = {str(e.path): e.reason for e in dataset.entries if e.status == "left out"}
    used = sum(e.status != "left out" for e in dataset.entries)
    return {"files_used": used, "files_left_out": left_out, "decisions": dataset.decisions}


def choose(
    dataset: Dataset, subset: Subset, validate: str = "auto", group: str | None = None
) -> tuple[Dataset, str | None]:
    """The whole data set, or its training or validation part, and a line about the split, if any.

    validate, group: see `unet_data.split`.
    """
    if subset == "all":
        return dataset, None
    parts = divide(dataset, validate, group)
    return parts.training if subset == "train" else parts.validation, parts.how
