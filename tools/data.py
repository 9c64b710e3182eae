"""The data set that a command names: a path, or "synthetic"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from unet_data import Dataset, membranes, open_dataset, open_stored, split
from unet_data.labels import LabelKind
from unet_data.layout import find_layout
from unet_spec import InputError

Subset = Literal["all", "train", "validation"]

LARGE = 2**30
"""Bytes of image files above which they are read by windows where nobody said how."""


def open_data(
    name: str,
    spatial_dims: int = 2,
    seed: int = 0,
    stored: bool | None = False,
    ignore: int | None = None,
    kind: LabelKind = "auto",
) -> Dataset:
    """Opens a path (see `unet_data.open_dataset`); "synthetic" makes 24 images of membranes. With `stored`, a path's
    images stay in their files (see `unet_data.open_stored`); None: where only that opens them, or they are LARGE.
    ignore: the label number of pixels that do not count. kind: what the others mean. Raises InputError."""
    if name == "synthetic":
        made = membranes(24, 384, seed) if spatial_dims == 2 else membranes(6, 96, seed, spatial_dims=3)
        return replace(made, ignore=ignore, path=name)
    if stored is None:
        stored = _by_windows(Path(name))
    return (open_stored if stored else open_dataset)(name, spatial_dims, kind, ignore)


def _by_windows(path: Path) -> bool:
    """Whether a path is for `open_stored`: no layout fits without .npy and .zarr, or labelled files that are LARGE."""
    pairs, with_arrays = _pairs(path, False), _pairs(path, True)
    if pairs is None:
        return True
    large = sum(image.stat().st_size for image, _ in pairs) > LARGE
    return large and pairs == with_arrays and all(label for _, label in pairs)


def _pairs(path: Path, arrays: bool) -> tuple[tuple[Path, Path | None], ...] | None:
    try:
        return find_layout(path, arrays).pairs
    except InputError:
        return None


def choose(dataset: Dataset, subset: Subset) -> Dataset:
    """All of it, or the part that training learns from (its first five sixths) or validates on (the last sixth)."""
    return dataset if subset == "all" else split(dataset)[0 if subset == "train" else 1]
