"""The data set that a command names: a path, or "synthetic"."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from unet_data import Dataset, membranes, open_dataset, open_stored, split

Subset = Literal["all", "train", "validation"]


def open_data(
    name: str, spatial_dims: int = 2, seed: int = 0, stored: bool = False, ignore: int | None = None
) -> Dataset:
    """Opens a path (see `unet_data.open_dataset`); "synthetic" makes 24 images of membranes. With `stored`, a path's
    images stay in their files (see `unet_data.open_stored`). ignore: the label number of pixels that do not count.
    Raises InputError."""
    if name == "synthetic":
        made = membranes(24, 384, seed) if spatial_dims == 2 else membranes(6, 96, seed, spatial_dims=3)
        return replace(made, ignore=ignore)
    return (open_stored if stored else open_dataset)(name, spatial_dims, ignore=ignore)


def choose(dataset: Dataset, subset: Subset) -> Dataset:
    """All of it, or the part that training learns from (its first five sixths) or validates on (the last sixth)."""
    return dataset if subset == "all" else split(dataset)[0 if subset == "train" else 1]
