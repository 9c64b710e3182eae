"""Images of a ball of known physical size, in pixels of any size."""

from __future__ import annotations

import numpy as np

from unet_data import Dataset, FileFacts

EXTENT, CENTRE, RADIUS = (24.0, 30.0, 36.0), (10.3, 17.1, 15.2), 7.0


def ball(spacing, extent=EXTENT, centre=CENTRE) -> np.ndarray:
    """The mask of a ball (a disk in 2-D) of known physical size, in pixels of `spacing`."""
    axes = [(np.arange(round(e / s)) + 0.5) * s for e, s in zip(extent, spacing, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum((a - c) ** 2 for a, c in zip(grid, centre, strict=True)) < RADIUS**2


def centre_of(weights: np.ndarray, extent) -> np.ndarray:
    """The centre of mass, as a length from the first edge of the image."""
    steps = [e / n for e, n in zip(extent, weights.shape, strict=True)]
    grid = np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(weights.shape, steps, strict=True)], indexing="ij")
    return np.array([(g * weights).sum() / weights.sum() for g in grid])


def of_balls(*spacings, dims=3, instances=False) -> Dataset:
    masks = [ball(s, EXTENT[-dims:], CENTRE[-dims:]) for s in spacings]
    return Dataset(
        images=tuple((mask * np.uint8(200))[..., None] for mask in masks),
        labels=tuple(mask.astype(np.int32) for mask in masks),
        names=tuple(f"ball {i}" for i in range(len(masks))),
        class_names=("background", "ball"),
        source="balls",
        instances=tuple(7 * mask.astype(np.int32) for mask in masks) if instances else None,
        facts=tuple(FileFacts(spacing=s, unit="mm") for s in spacings),
    )
