"""Statistics of a data set for planning a training: sizes, intensities, classes, objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from unet_spec.errors import InputError

from .datasets.check import class_shares
from .datasets.dataset import Dataset
from .datasets.label_rule import IGNORED
from .windows import middle

SAMPLED_IMAGES = 24
"""Number of images, evenly spaced in the data set, whose pixels are read."""

SIDE = {2: 1024, 3: 160}
"""By number of dimensions: pixels per axis in the middle of an image that are read."""


@dataclass(frozen=True)
class Fingerprint:
    """Statistics of a labelled data set. Lengths are in pixels, axes in the order of the arrays.

    Attributes:
        images: number of images.
        smallest, median, largest: image size in pixels, for each axis separately.
        channels: channels of the images.
        dtype: dtype of the images: uint8, uint16 or float32.
        class_names: class names of the labels.
        shares: share of each class in the pixels that are not ignored.
        overlapping: whether a pixel may have several classes.
        objects: number of objects in the sampled images; None if the labels do not number objects.
        object_size: median diameter of these objects (of the circle or sphere with the same size); None without
            objects.
        touching: share of these objects that touch another one; None without objects.
        mean, std: mean and standard deviation of the brightness, averaged over the sampled images and all channels, in
            the units of the images.
        spread: standard deviation of the images' means, in units of `std`.
        spacing: pixel size per axis of the first image whose file states it; None if no file does.
        spacing_ratio: largest ratio of the pixel sizes of two images along an axis, of the files that state them.

    Example:
        >>> from unet_data import fingerprint, membranes
        >>> figures = fingerprint(membranes(4, 64, seed=0))
        >>> figures.images, figures.median, figures.channels, figures.objects
        (4, (64, 64), 1, None)
    """

    images: int
    smallest: tuple[int, ...]
    median: tuple[int, ...]
    largest: tuple[int, ...]
    channels: int
    dtype: str
    class_names: tuple[str, ...]
    shares: tuple[float, ...]
    overlapping: bool
    objects: int | None
    object_size: float | None
    touching: float | None
    mean: float
    std: float
    spread: float
    spacing: tuple[float, ...] | None = None
    spacing_ratio: float = 1.0

    @property
    def rarest(self) -> float:
        """Share of the rarest class that occurs."""
        return min(share for share in self.shares if share) if any(self.shares) else 0.0

    @property
    def coarseness(self) -> float:
        """Ratio of the largest to the smallest pixel size of the axes; 1 if no file states them."""
        return max(self.spacing) / min(self.spacing) if self.spacing else 1.0

    def to_dict(self) -> dict[str, Any]:
        """The statistics as a dictionary for JSON."""
        return asdict(self)


def fingerprint(dataset: Dataset) -> Fingerprint:
    """Computes the statistics of a labelled data set.

    Sizes and class shares are those of all images. Intensities and objects are sampled from 24 images, evenly spaced in
    the data set, in their central 1024 pixels per axis (160 voxels in 3-D).

    Args:
        dataset: in memory or in files, with labels.

    Raises:
        InputError: the data set has no labels.

    Example:
        >>> from unet_data import membranes
        >>> round(sum(fingerprint(membranes(4, 64, seed=0)).shares), 6)
        1.0
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels; planning a training needs labelled images")
    sizes = np.asarray([image.shape[:-1] for image in dataset.images])
    smallest, median, largest = (
        tuple(int(n) for n in rows) for rows in (sizes.min(0), np.median(sizes, axis=0), sizes.max(0))
    )
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(SAMPLED_IMAGES, len(dataset))).round().astype(int))
    means, stds = _brightness(dataset, chosen)
    objects, diameters, touching = _objects(dataset, chosen)
    std = float(np.mean(stds))
    stated = (_spacing(f.spacing, len(median)) for f in dataset.facts if f.spacing)
    spacings = [spacing for spacing in stated if spacing]
    return Fingerprint(
        images=len(dataset),
        smallest=smallest,
        median=median,
        largest=largest,
        channels=dataset.channels,
        dtype=str(dataset.images[0].dtype),
        class_names=dataset.class_names,
        shares=tuple(class_shares(dataset)[0].values()),
        overlapping=dataset.overlapping,
        objects=objects,
        object_size=None if objects is None else float(np.median(diameters)) if diameters else 0.0,
        touching=None if objects is None else touching / max(1, objects),
        mean=float(np.mean(means)),
        std=std,
        spread=float(np.std(means) / std) if std else 0.0,
        spacing=next(iter(spacings), None),
        spacing_ratio=float((np.max(spacings, axis=0) / np.min(spacings, axis=0)).max()) if spacings else 1.0,
    )


def _spacing(spacing: tuple[float, ...], dims: int) -> tuple[float, ...] | None:
    """The pixel size for the image's axes, or None: a file of planes states only the distances within a plane."""
    return tuple(float(s) for s in spacing[-dims:]) if len(spacing) >= dims and min(spacing) > 0 else None


def _middle(array: np.ndarray, dims: int) -> np.ndarray:
    return np.asarray(array[middle(array.shape[:dims], SIDE[dims])])


def _brightness(dataset: Dataset, chosen: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each chosen image, without the pixels that its file declares as missing."""
    means, stds = [], []
    for index in chosen:
        values = _middle(dataset.images[index], dataset.spatial_dims).astype(np.float64)
        if dataset.nodata is not None:
            values = values[(values != dataset.nodata).any(-1)]
        means.append(float(values.mean()) if values.size else 0.0)
        stds.append(float(values.std()) if values.size else 0.0)
    return means, stds


def _objects(dataset: Dataset, chosen: np.ndarray) -> tuple[int | None, list[float], int]:
    """Number of objects, diameter of each, and number of objects that touch another one."""
    if dataset.instances is None:
        return None, [], 0
    count, diameters, touching = 0, [], 0
    for index in chosen:
        numbers = _middle(dataset.instances[index], dataset.spatial_dims)
        numbers = np.where(numbers == IGNORED, 0, numbers)
        found, sizes = np.unique(numbers[numbers != 0], return_counts=True)
        count += len(found)
        dims = numbers.ndim
        ball = {2: np.pi / 4, 3: np.pi / 6}[dims]
        diameters += list((sizes / ball) ** (1 / dims))
        touching += len(_touching(numbers))
    return count, [float(d) for d in diameters], touching


def _touching(numbers: np.ndarray) -> set[int]:
    """The numbers of the objects that touch another object."""
    found: set[int] = set()
    for axis in range(numbers.ndim):
        a = np.moveaxis(numbers, axis, 0)
        meet = (a[1:] != a[:-1]) & (a[1:] != 0) & (a[:-1] != 0)
        found |= set(np.unique(a[1:][meet]).tolist()) | set(np.unique(a[:-1][meet]).tolist())
    return found
