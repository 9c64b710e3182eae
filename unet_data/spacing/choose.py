"""Chooses the pixel size to which the images of a data set are resampled.

It is chosen as in nnU-Net (Isensee et al. 2021, arXiv 1904.08128): along each axis, the median of the images' pixel
sizes; along the coarse axis of strongly anisotropic images, their 10th percentile.
"""

from __future__ import annotations

import numpy as np

from unet_spec.errors import InputError

from ..datasets.dataset import Dataset
from ..io.carried import symbol
from .target import TargetSpacing, coarse_axis, parse_spacing, pixel_size

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
    if not sizes:
        return TargetSpacing((), reason="no file states a pixel size")
    low, high = np.min(sizes, axis=0), np.max(sizes, axis=0)
    ratio = float((high / low).max())
    if len(sizes) < len(dataset):
        missing = f"{len(dataset) - len(sizes)} of {len(dataset)} images state no pixel size"
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
