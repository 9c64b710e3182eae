"""Arrays that stay in their files, on another grid: the pixels of a window are interpolated when it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.stored import Stored, unchanged
from ..windows import Slices
from .grids import Grids
from .interpolate import interpolated, voted

if TYPE_CHECKING:
    from jaxtyping import Shaped


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
        >>> from unet_data.spacing.windows import resampled
        >>> np.save("a.npy", np.array([[0, 4], [8, 12]], np.uint8))
        >>> [image] = resampled(stored_pictures(Path("a.npy"), 2, "image"), Grids((2, 2), (4, 2), (1, 1)))
        >>> image.shape, image[0:2, 0:2][..., 0].tolist()
        ((4, 2, 1), [[0, 4], [2, 6]])
    """
    plain = {"spatial": grids.target, "convert": unchanged, "reach": 0, "first": 0, "image": None, "nodata": None}
    return [
        replace(array, source=Resampled(tuple(arrays), number, grids), **plain) for number, array in enumerate(arrays)
    ]
