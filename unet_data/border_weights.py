"""The paper's weight map: how much each pixel counts in the loss.

w(x) = w_c(x) + w0 · exp(−(d1(x) + d2(x))² / 2σ²)                            (Ronneberger et al. 2015, equation 2)

w_c balances the classes; d1 and d2 are the distances to the two nearest cells. The second term lies on the background
only: it is there to make the network learn the thin borders between touching cells (figure 3 of the paper).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unet_data.dataset import Dataset
from unet_data.labels import IGNORED, class_counts
from unet_data.thinning import regions
from unet_spec.checkpoint import replacing
from unet_spec.errors import InputError

REACH = 6.0
"""In units of σ: farther than this from a cell, its term is below w0 · exp(−18) = 1.5e-8 w0, and taken as 0."""


def two_nearest(cells: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels from each pixel's centre to that of the nearest pixel of the nearest and second-nearest cell.

    cells: (H, W) or (D, H, W) integers, 0 background, each other number one cell. Result: two float32 arrays of that
    shape, exact up to `reach`, infinite beyond. Each cell is measured in its own surroundings only, so the time grows
    with the area of the cells, not with their number times that of the image.
    """
    from scipy import ndimage

    first = np.full(cells.shape, np.inf, np.float32)
    second = first.copy()
    margin = int(np.ceil(reach))
    numbers, compact = np.unique(cells, return_inverse=True)
    compact = compact.reshape(cells.shape) + (1 if numbers[0] else 0)  # 0 stays the background
    for number, box in enumerate(ndimage.find_objects(compact), start=1):
        around = tuple(slice(max(s.start - margin, 0), s.stop + margin) for s in box)
        distance = np.asarray(ndimage.distance_transform_edt(compact[around] != number), np.float32)
        distance[distance > reach] = np.inf
        near = first[around]
        second[around] = np.minimum(second[around], np.maximum(near, distance))
        first[around] = np.minimum(near, distance)
    return first, second


def border_weights(cells: np.ndarray, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """w0 · exp(−(d1 + d2)² / 2σ²) on the background, 0 inside cells: float32 of the shape of `cells`.

    cells: (H, W) or (D, H, W) integers, 0 background, each other number one cell (instance labels). w0: weight where
    two cells all but touch. sigma: in pixels. Raises InputError for negative w0 and sigma ≤ 0.
    """
    if w0 < 0 or sigma <= 0:
        raise InputError(f"border weights need w0 ≥ 0 and sigma > 0, not {w0} and {sigma}")
    d1, d2 = two_nearest(cells, REACH * sigma)
    weight = w0 * np.exp(-((d1 + d2) ** 2) / np.float32(2 * sigma**2))
    return np.where(cells == 0, weight, 0).astype(np.float32)


def class_weights(labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """w_c: (K,) float32, inversely proportional to each class's share of all pixels, 1 on average over the pixels.

    N / (K · N_c): a class of half the pixels of two has weight 1. A class without pixels gets 0. labels: class indices;
    ignored pixels are of no class and not in N.
    """
    counts = np.sum([class_counts(label, classes) for label in labels], axis=0)
    present = counts > 0
    weights = counts.sum() / (max(int(present.sum()), 1) * np.maximum(counts, 1))
    return np.where(present, weights, 0).astype(np.float32)


def pixel_weights(labels: np.ndarray, factors: np.ndarray, border: np.ndarray) -> np.ndarray:
    """The weight of each pixel: w_c of its class plus its border term, float32 of the shape of `labels`.

    Ignored pixels have weight 1, the mean of w_c: it counts nowhere, but a warp mixes the weights of neighbours.
    """
    return np.where(labels == IGNORED, 1, factors[labels] + border).astype(np.float32)


def cells_of(dataset: Dataset, index: int) -> np.ndarray:
    """The cells of one image, numbered: its instance labels where the data set has them, else the connected regions of
    labels > 0 (neighbours share an edge or a face, as in ISBI 2012). Ignored pixels are of no cell."""
    if dataset.instances is not None:
        return np.asarray(dataset.instances[index])
    assert dataset.labels is not None
    return regions(np.asarray(dataset.labels[index]) > 0)


def weight_maps(
    dataset: Dataset, w0: float, sigma: float, balance: bool, cache: Path | None = None
) -> tuple[np.ndarray, ...]:
    """One weight map per image, float32 of its label's shape: w_c (1 where not `balance`) plus the border term.

    Kept as a file in `cache` (None: `cache_folder()`), named after a digest of the labels and numbers that it follows
    from; where nothing can be written there, it is computed each time. Raises InputError without labels.
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source}: has no labels; a weight map needs them")
    factors = class_weights(dataset.labels, dataset.class_count) if balance else np.ones(dataset.class_count)
    borders = (
        _cached_borders(dataset, w0, sigma, cache or cache_folder())
        if w0
        else [np.zeros((), np.float32)] * len(dataset)
    )
    return tuple(pixel_weights(label, factors, border) for label, border in zip(dataset.labels, borders, strict=True))


def cache_folder() -> Path:
    """UNET_CACHE, or unet-twins in XDG_CACHE_HOME, or ~/.cache/unet-twins."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNET_CACHE") or Path(base) / "unet-twins")


def _cached_borders(dataset: Dataset, w0: float, sigma: float, folder: Path) -> list[np.ndarray]:
    cells = [cells_of(dataset, i) for i in range(len(dataset))]
    digest = hashlib.sha256(repr(("border weights 1", float(w0), float(sigma))).encode())
    for array in cells:
        digest.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    path = folder / f"border-{digest.hexdigest()[:32]}.npz"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return [stored[str(i)] for i in range(len(cells))]
    except Exception:  # zipfile, zlib and numpy raise nearly everything on damaged bytes
        pass  # not there, or damaged: computed again
    maps = [border_weights(array, w0, sigma) for array in cells]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **{str(i): m for i, m in enumerate(maps)})  # type: ignore[arg-type]
    except OSError:
        pass  # a cache that cannot be written only costs time
    return maps
