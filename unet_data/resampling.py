"""Resamples a data set to one pixel size.

It is chosen as in nnU-Net (Isensee et al. 2021, arXiv 1904.08128): along each axis, the median of the images' pixel
sizes; along the coarse axis of strongly anisotropic images, their 10th percentile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from unet_spec.errors import InputError

from .datasets.dataset import Dataset
from .datasets.stored import Stored, as_array, unchanged
from .io.budget import check_memory
from .io.formats.units import symbol
from .spacing.grids import Grids, grids_of
from .spacing.interpolate import interpolated, voted
from .spacing.target import TargetSpacing, coarse_axis, parse_spacing, pixel_size
from .windows import Slices

if TYPE_CHECKING:
    from jaxtyping import Shaped

SIMILAR = 1.01
"""If the pixel sizes of the images differ by at most this factor along each axis, "auto" does not resample them."""

COARSE_PERCENTILE = 10
"""Percentile of the pixel sizes along a coarse axis that is their target."""


def choose_spacing(dataset: Dataset, asked: str = "auto") -> TargetSpacing:
    """The pixel size to which the images of a data set are to be resampled.

    Args:
        dataset: the images; their files' pixel sizes are in `Dataset.facts`.
        asked: "auto": the median pixel size if all files state theirs and these differ by more than 1 %; else not
            resampled. "none": not resampled. "5,1,1": this pixel size along z, y, x, in the unit of the first file that
            states one; one number holds for all axes.

    Raises:
        InputError: `asked` is something else, or has another number of axes.

    Example:
        >>> from dataclasses import replace
        >>> from unet_data import FileFacts, choose_spacing, membranes
        >>> sizes = (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)
        >>> data = replace(membranes(3, 32, seed=0), facts=tuple(FileFacts(spacing=s, unit="µm") for s in sizes))
        >>> choose_spacing(data).size
        (2.0, 2.0)
    """
    dims = dataset.spatial_dims
    unit = next((symbol(f.unit) for f in dataset.facts if f.unit and pixel_size(f, dims, f.unit)), "")
    given = parse_spacing(asked)
    if given is not None:
        if given and len(given) not in (1, dims):
            raise InputError(f"spacing is {asked!r}; give one number, or one for each of the {dims} axes")
        return TargetSpacing(given * dims if len(given) == 1 else given, unit if given else "", "given")
    sizes = [size for f in dataset.facts if (size := pixel_size(f, dims, unit))]
    along = " along z, y and x" * (dims == 3)
    if not sizes:
        return TargetSpacing((), reason=f"no file states a pixel size{along}")
    ratio = float((np.max(sizes, axis=0) / np.min(sizes, axis=0)).max())
    if len(sizes) < len(dataset):
        missing = f"{len(dataset) - len(sizes)} of {len(dataset)} images state no pixel size{along}"
        return TargetSpacing((), reason=missing)
    if ratio <= SIMILAR:
        return TargetSpacing((), reason=f"all images have pixels of {TargetSpacing(sizes[0], unit)}")
    target = [float(length) for length in np.median(sizes, axis=0)]
    reason = f"the median of pixel sizes that differ by a factor of up to {ratio:.3g}"
    if (axis := coarse_axis(target)) is not None:
        fine = max(length for other, length in enumerate(target) if other != axis)
        target[axis] = max(float(np.percentile([size[axis] for size in sizes], COARSE_PERCENTILE)), fine)
        reason += f"; along the coarse axis, their {COARSE_PERCENTILE}th percentile"
    return TargetSpacing(tuple(float(f"{length:.9g}") for length in target), unit, reason)


def resample_dataset(dataset: Dataset, target: TargetSpacing) -> Dataset:
    """Resamples the images of a data set, and their labels, to a pixel size.

    Images are interpolated by third order (linearly along a coarse axis) and keep their dtype. Labels take the most
    probable number, by linear interpolation of each number's mask. Images whose file states no pixel size do not
    change. Arrays that stay in their files are resampled when a window is read.

    Args:
        dataset: data set, in memory or in its files.
        target: the pixel size; a network trained on the result stores it.

    Raises:
        InputError: the result does not fit into memory.

    Example:
        >>> from dataclasses import replace
        >>> from unet_data import FileFacts, TargetSpacing, membranes, resample_dataset
        >>> data = replace(membranes(1, 32, seed=0), facts=(FileFacts(spacing=(2.0, 2.0), unit="µm"),))
        >>> resample_dataset(data, TargetSpacing((1.0, 1.0), "µm")).images[0].shape
        (64, 64, 1)
    """
    if not target.size:
        return dataset
    grids = [
        grids_of(image.shape[:-1], dataset.file_facts(index), target) for index, image in enumerate(dataset.images)
    ]
    if not any(grids):
        return replace(dataset, spacing=target)
    _check_memory(dataset, grids)
    images, labels, instances = list(dataset.images), list(dataset.labels or ()), list(dataset.instances or ())
    new_facts = list(dataset.facts)
    for index, grid in enumerate(grids):
        if grid is None:
            continue
        [images[index]] = _on_grid([images[index]], grid, grid.image)
        own = [each for each in (labels, instances) if each]
        for each, found in zip(own, _on_grid([each[index] for each in own], grid, grid.labels), strict=True):
            each[index] = found
        before = new_facts[index].spacing or ()
        size = (*before[: len(before) - len(target.size)], *target.size)
        new_facts[index] = replace(new_facts[index], spacing=size, unit=target.unit)
    return replace(
        dataset,
        images=tuple(images),
        labels=None if dataset.labels is None else tuple(labels),
        instances=None if dataset.instances is None else tuple(instances),
        facts=tuple(new_facts),
        spacing=target,
    )


@dataclass(frozen=True)
class Resampled:
    """An image or a label of a data set, on the grid of the target.

    Attributes:
        arrays: the image; or all labels of the image, such as classes and numbers of objects (see `voted`).
        number: index of the array whose windows these are.
        grids: the pixels of the image, and those of the target.
    """

    arrays: tuple[Stored, ...]
    number: int
    grids: Grids

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.grids.target, *self.arrays[self.number].shape[len(self.grids.target) :])

    def __getitem__(self, window: Slices) -> Shaped[np.ndarray, "*window"]:
        if self.arrays[self.number].role == "image":
            return interpolated(self.arrays[self.number], self.grids.forward, window, same_dtype=True)
        return voted(self.arrays, self.grids.forward, window)[self.number]

    def in_grey(self) -> Resampled:
        """The image with one channel."""
        return replace(self, arrays=tuple(array.in_grey() for array in self.arrays))


def resampled(arrays: Sequence[Stored], grids: Grids) -> list[Stored]:
    """Stored arrays on another grid, equal to what `Grids.image` or `Grids.labels` makes of them in memory.

    Args:
        arrays: an image; or all labels of an image.
        grids: the pixels of the image, and those of the target.

    Example:
        >>> from pathlib import Path
        >>> from unet_data.datasets.stored import stored_pictures
        >>> from unet_data.spacing.grids import Grids
        >>> from unet_data.resampling import resampled
        >>> np.save("a.npy", np.array([[0, 4], [8, 12]], np.uint8))
        >>> [image] = resampled(stored_pictures(Path("a.npy"), 2, "image"), Grids((2, 2), (4, 2), (1, 1)))
        >>> image.shape, image[0:2, 0:2][..., 0].tolist()
        ((4, 2, 1), [[0, 4], [2, 6]])
    """
    plain = {"spatial": grids.target, "convert": unchanged, "reach": 0, "first": 0, "image": None, "nodata": None}
    return [
        replace(array, source=Resampled(tuple(arrays), number, grids), **plain) for number, array in enumerate(arrays)
    ]


def _on_grid(arrays: list[np.ndarray], grid: Grids, in_memory: Callable[..., Any]) -> Sequence[np.ndarray]:
    """An image, or all labels of one, at the target."""
    if any(isinstance(array, Stored) for array in arrays):
        return [as_array(each) for each in resampled(cast(list[Stored], arrays), grid)]
    found = in_memory(*arrays) if arrays else []
    return [found] if isinstance(found, np.ndarray) else found


def _check_memory(dataset: Dataset, grids: Sequence[Grids | None]) -> None:
    """Raises InputError if the resampled data set does not fit into memory."""
    image = 0 if dataset.stored else dataset.channels * dataset.images[0].dtype.itemsize
    held = (own is not None and not isinstance(own[0], Stored) for own in (dataset.labels, dataset.instances))
    pixel = image + 4 * sum(held)
    needed = sum(math.prod(grid.target) * pixel for grid in grids if grid is not None)
    check_memory(f"{dataset.source}", needed, needed, "resampled images need")
