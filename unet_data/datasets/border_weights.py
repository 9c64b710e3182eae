"""The paper's weight map: the weight of each pixel in the loss.

w(x) = w_c(x) + w0 · exp(−(d1(x) + d2(x))² / 2σ²)                            (Ronneberger et al. 2015, equation 2)

w_c balances the classes; d1 and d2 are the distances to the two nearest cells. The second term applies only to the
background. It makes the network learn the thin borders between touching cells (figure 3 of the paper).
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec.errors import InputError
from unet_spec.files import cache_folder, replacing

from ..io.decode import one_line
from ..labels.regions import regions
from ..windows import Windowed
from .dataset import Dataset
from .label_rule import IGNORED, class_counts

if TYPE_CHECKING:
    from jaxtyping import Float32, Integer, Shaped

REACH = 6.0
"""In units of σ. Beyond this distance the border term is below w0 · exp(−18) = 1.5e-8 w0 and is set to 0."""


def two_nearest(
    cells: Integer[np.ndarray, "*spatial"], reach: float
) -> tuple[Float32[np.ndarray, "*spatial"], Float32[np.ndarray, "*spatial"]]:
    """Distances from each pixel's centre to that of the nearest pixel of the nearest and of the second-nearest cell.

    Distances are computed only around each cell, so that the time grows with the cells' total area, not with the number
    of cells times the area of the image.

    Args:
        cells: (H, W) or (D, H, W), 0 is background, each other number is one cell.
        reach: maximum distance in pixels.

    Returns:
        Two arrays in pixels, exact up to `reach` and infinite beyond.
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


def border_weights(
    cells: Integer[np.ndarray, "*spatial"], w0: float = 10.0, sigma: float = 5.0
) -> Float32[np.ndarray, "*spatial"]:
    """The border term of the paper's weight map: w0 · exp(−(d1 + d2)² / 2σ²) on the background, 0 inside cells.

    Ronneberger et al. 2015, equation 2, without the term that balances classes. d1 and d2 are the distances to the
    nearest and to the second nearest cell.

    Args:
        cells: (H, W) or (D, H, W), instance labels: 0 is background, each other number is one cell.
        w0: maximum weight, between cells that almost touch.
        sigma: width of the Gaussian in pixels.

    Raises:
        InputError: w0 is negative or sigma ≤ 0.

    Example:
        >>> from unet_data import border_weights
        >>> print(border_weights(np.array([[1, 0, 2, 0, 0]])).round(2))
        [[0.   9.23 0.   7.26 4.87]]
    """
    if w0 < 0 or sigma <= 0:
        raise InputError(f"border weights need w0 ≥ 0 and sigma > 0, not {w0} and {sigma}")
    d1, d2 = two_nearest(cells, REACH * sigma)
    weight = w0 * np.exp(-((d1 + d2) ** 2) / np.float32(2 * sigma**2))
    return np.where(cells == 0, weight, 0).astype(np.float32)


def class_weights(labels: Sequence[Windowed], classes: int) -> Float32[np.ndarray, " k"]:
    """w_c: inversely proportional to each class's share of all pixels, 1 on average over the pixels.

    N / (K · N_c): of two classes, one with half of the pixels has weight 1. A class without pixels gets 0.

    Args:
        labels: class indices; ignored pixels have no class and do not count in N.
        classes: K.
    """
    counts = np.sum([class_counts(label, classes) for label in labels], axis=0)
    present = counts > 0
    weights = counts.sum() / (max(int(present.sum()), 1) * np.maximum(counts, 1))
    return np.where(present, weights, 0).astype(np.float32)


def pixel_weights(
    labels: Integer[np.ndarray, "*spatial"], factors: Shaped[np.ndarray, " k"], border: Float32[np.ndarray, "*any"]
) -> Float32[np.ndarray, "*spatial"]:
    """The weight of each pixel: w_c of its class plus its border term.

    Ignored pixels have weight 1, the mean of w_c. The loss does not use it, but a warp mixes it with its neighbours'.

    Args:
        labels: class indices.
        factors: w_c of each class.
        border: border weights, of the shape of `labels`, or one number.
    """
    return np.where(labels == IGNORED, 1, factors[labels] + border).astype(np.float32)


def cells_of(dataset: Dataset, index: int) -> Integer[np.ndarray, "*spatial"]:
    """The numbered cells of one image: its instance labels if the data set has them, otherwise the connected regions of
    labels > 0 (neighbours share an edge or a face, as in ISBI 2012). Ignored pixels belong to no cell."""
    if dataset.instances is not None:
        return np.asarray(dataset.instances[index])
    assert dataset.labels is not None
    return regions(np.asarray(dataset.labels[index]) > 0)


def weight_maps(
    dataset: Dataset, w0: float, sigma: float, balance: bool, cache: Path | None = None
) -> tuple[Float32[np.ndarray, "*spatial"], ...]:
    """One weight map per image, of its label's shape: w_c plus the border term.

    The border terms are cached in a file with a checksum, named after a digest of the labels and parameters. A damaged
    file is replaced, and a warning is logged. If the file cannot be written, they are computed each time.

    Args:
        dataset: data set with labels.
        w0, sigma: as in `border_weights`; w0 = 0 leaves the border term out.
        balance: whether w_c balances the classes; otherwise it is 1.
        cache: folder of the cache file. Default: `unet_spec.files.cache_folder()`.

    Raises:
        InputError: the data set has no labels.

    Example:
        >>> from unet_data import membranes, weight_maps
        >>> maps = weight_maps(membranes(2, 64, seed=0), w0=0, sigma=5, balance=True)
        >>> maps[0].shape, round(float(np.mean(maps)), 3)
        ((64, 64), 1.0)
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


def _cached_borders(dataset: Dataset, w0: float, sigma: float, folder: Path) -> list[np.ndarray]:
    cells = [cells_of(dataset, i) for i in range(len(dataset))]
    digest = hashlib.sha256(repr(("border weights 2", float(w0), float(sigma))).encode())
    for array in cells:
        digest.update(repr((array.shape, array.dtype.str)).encode() + np.ascontiguousarray(array).tobytes())
    path = folder / f"border-{digest.hexdigest()[:32]}.npz"
    if path.exists():
        try:
            return _read_borders(path, cells, w0)
        except Exception as e:  # zipfile, zlib and numpy raise nearly everything on damaged bytes
            logging.getLogger(__name__).warning(
                "%s: the border weights in the cache are unusable and computed again (%s)", path, one_line(e)
            )
    maps = [border_weights(array, w0, sigma) for array in cells]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            arrays: dict[str, Any] = {str(i): m for i, m in enumerate(maps)} | {_CHECKSUM: _checksum(maps)}
            np.savez_compressed(file, **arrays)
    except OSError:
        pass  # a cache that cannot be written only costs time
    return maps


_CHECKSUM = "sha256"


def _checksum(maps: Sequence[np.ndarray]) -> np.ndarray:
    return np.frombuffer(hashlib.sha256(b"".join(m.tobytes() for m in maps)).digest(), np.uint8)


def _read_borders(path: Path, cells: Sequence[np.ndarray], w0: float) -> list[np.ndarray]:
    """The maps in a cache file. Raises an exception if the file is damaged or does not belong to these cells."""
    with zipfile.ZipFile(path) as archive:
        expected = sum(4 * array.size + 2**12 for array in cells) + 2**12
        if (unpacked := sum(member.file_size for member in archive.infolist())) > expected:
            raise ValueError(f"{unpacked} bytes, at most {expected} expected")
    with np.load(path, allow_pickle=False) as stored:
        maps, checksum = [stored[str(i)] for i in range(len(cells))], stored[_CHECKSUM]
    for array, own in zip(cells, maps, strict=True):
        if own.shape != array.shape or own.dtype != np.float32:
            raise ValueError(f"a map of {own.shape} {own.dtype}, {array.shape} float32 expected")
        if not (np.all(own >= 0) and np.all(own <= w0)) or own[array != 0].any():
            raise ValueError("weights that cannot be")
    if not np.array_equal(checksum, _checksum(maps)):
        raise ValueError("other weights than were written")
    return maps
