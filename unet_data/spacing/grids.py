"""The pixels of an image and those that a network expects, and the way from one grid to the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec

from ..io.budget import check_memory
from ..io.facts import FileFacts
from ..io.readers import Picture
from ..windows import Slices, bands
from .interpolate import Axis, interpolated, voted
from .target import TargetSpacing, coarse_axis, pixel_size, target_shape

if TYPE_CHECKING:
    from jaxtyping import Integer, Shaped

BAND = 2**20
"""Approximate number of pixels that are interpolated at once."""


@dataclass(frozen=True)
class Grids:
    """The pixels of an image, and those to which it is resampled.

    Attributes:
        own, target: pixels per axis. Both grids cover the same extent (see `interpolate`).
        orders: order of the interpolation of the image along each axis: 3, or 1 along a coarse axis; 0, the nearest
            pixel, for an image with pixels without data.

    Example:
        >>> from unet_data.spacing.grids import Grids
        >>> Grids((2, 3), (4, 6), (3, 3)).image(np.full((2, 3, 1), 7, np.uint8)).shape
        (4, 6, 1)
    """

    own: tuple[int, ...]
    target: tuple[int, ...]
    orders: tuple[int, ...]

    @property
    def forward(self) -> list[Axis]:
        """The axes from the image's pixels to the target."""
        return [Axis(*each) for each in zip(self.own, self.target, self.orders, strict=True)]

    @property
    def backward(self) -> list[Axis]:
        """The axes from the target to the image's pixels."""
        return [Axis(n, m, 1) for n, m in zip(self.target, self.own, strict=True)]

    def picture(self, picture: Picture) -> Picture:
        """An image that is read by windows, on the target's grid, in its dtype."""

        def read(window: Slices) -> np.ndarray:
            if any(s.stop <= s.start for s in window):
                return picture[window]
            return interpolated(picture, self.forward, window, same_dtype=True)

        return replace(picture, shape=(*self.target, picture.shape[-1]), read=read)

    def image(self, image: Shaped[np.ndarray, "*own c"]) -> Shaped[np.ndarray, "*target c"]:
        """An image in memory, on the target's grid, in its dtype."""
        needed = math.prod((*self.target, image.shape[-1])) * image.dtype.itemsize
        check_memory("the image", needed, image.nbytes, f"{'x'.join(map(str, self.target))} pixels need")
        result = np.empty((*self.target, image.shape[-1]), image.dtype)
        for band in bands(self.target, BAND):
            result[band] = interpolated(image, self.forward, band, same_dtype=True)
        return result

    def labels(self, *labels: Integer[np.ndarray, "*own"]) -> list[Integer[np.ndarray, "*target"]]:
        """Labels in memory, on the target's grid: see `voted`."""
        results = [np.empty(self.target, label.dtype) for label in labels]
        for band in bands(self.target, BAND):
            for result, part in zip(results, voted(labels, self.forward, band), strict=True):
                result[band] = part
        return results


def grids_of(shape: Sequence[int], facts: FileFacts, target: TargetSpacing) -> Grids | None:
    """The grids of an image; None if it is not resampled: there is no target, its file states no pixel size, or it has
    as many pixels at the target's pixel size.

    Args:
        shape: pixels per axis.
        facts: facts of its file.
        target: the pixel size that the network expects.

    Raises:
        InputError: the resampled image would be too large.

    Example:
        >>> from unet_data import FileFacts, TargetSpacing
        >>> from unet_data.spacing.grids import grids_of
        >>> grids_of((30, 40), FileFacts(spacing=(2.0, 1.0), unit="mm"), TargetSpacing((1.0, 1.0), "mm")).target
        (60, 40)
    """
    if not target.size or (size := pixel_size(facts, len(shape), target.unit)) is None:
        return None
    new = target_shape(shape, size, target.size)
    if new == tuple(shape):
        return None
    coarse = coarse_axis(size)
    coarse = coarse_axis(target.size) if coarse is None else coarse
    orders = tuple(0 if facts.nodata is not None else 1 if axis == coarse else 3 for axis in range(len(shape)))
    return Grids(tuple(shape), new, orders)


def for_network(picture: Picture, data: DataSpec) -> Picture:
    """An image that is read by windows, resampled to the pixel size that a network expects, if it has another one."""
    grids = grids_of(picture.shape[:-1], picture.facts, TargetSpacing.of(data))
    return picture if grids is None else grids.picture(picture)


def noted(facts: FileFacts, shape: Sequence[int], data: DataSpec) -> FileFacts:
    """The facts of an image, with a decision that says whether it is resampled for a network that expects a pixel size.

    Args:
        facts: facts of its file.
        shape: pixels per axis.
        data: data spec of the network.
    """
    target = TargetSpacing.of(data)
    if not target.size:
        return facts
    if pixel_size(facts, len(shape), target.unit) is None:
        unit = f" in {target.unit}" * bool(target.unit and facts.spacing)
        note = f"not resampled, since no pixel size{unit} is stated; the network expects pixels of {target}"
    elif grids_of(shape, facts, target) is None:
        return facts
    else:
        note = f"resampled to pixels of {target} for the network, and its result back"
    return replace(facts, read_as=(*facts.read_as, note))
