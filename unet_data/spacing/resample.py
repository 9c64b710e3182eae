"""Resamples images and labels to the pixel size that a network expects, and its outputs back to the image's pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import DataSpec, NetworkConfig
from unet_spec.errors import InputError

from ..datasets.dataset import Dataset
from ..inference.output import probabilities
from ..io.budget import check_memory
from ..io.facts import FileFacts
from ..io.readers import Picture
from ..windows import Slices, Windowed, bands
from .interpolate import Axis, interpolated, voted
from .target import TargetSpacing, coarse_axis, pixel_size, target_shape

if TYPE_CHECKING:
    from jaxtyping import Float32, Integer, Shaped

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
        >>> from unet_data.spacing.resample import Grids
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

    def outputs(
        self, outputs: Windowed, config: NetworkConfig, overlapping: bool, window: Slices | None = None
    ) -> Float32[np.ndarray, "*window k"]:
        """A network's outputs (*target, K), on the image's grid: `window` of it, or all of it.

        Probabilities are interpolated linearly, then converted to logits again; a distance is interpolated as it is.
        """
        source = Chances(outputs, config, overlapping)
        if window is not None:
            return source.restored(interpolated(source, self.backward, window))
        result = np.empty((*self.own, outputs.shape[-1]), np.float32)
        for band in bands(self.own, BAND):
            result[band] = source.restored(interpolated(source, self.backward, band))
        return result


@dataclass(frozen=True)
class Chances:
    """A network's outputs (*spatial, K), read as probabilities and, after them, a distance if there is one."""

    outputs: Windowed
    config: NetworkConfig
    overlapping: bool

    @property
    def shape(self) -> tuple[int, ...]:
        extra = self.config.out_channels == 1 and not self.overlapping  # both classes of a single logit
        return (*self.outputs.shape[:-1], self.outputs.shape[-1] + extra)

    @property
    def ndim(self) -> int:
        return self.outputs.ndim

    def __getitem__(self, window: Slices) -> np.ndarray:
        values, count = self.outputs[window], self.config.out_channels
        chances = probabilities(values[..., :count], self.overlapping)
        return np.concatenate([chances, values[..., count:]], -1)

    def restored(self, values: np.ndarray) -> Float32[np.ndarray, "*spatial k"]:
        """Probabilities, and a distance, as outputs of the network: logits with these probabilities."""
        distance = values[..., -1:] if self.config.distance_head else values[..., :0]
        chances = values[..., : values.shape[-1] - distance.shape[-1]]
        tiny = np.finfo(np.float32).tiny
        logits = np.log(np.maximum(chances, tiny))
        if self.overlapping:
            logits -= np.log(np.maximum(1 - chances, tiny))
        elif self.config.out_channels == 1:
            logits = logits[..., 1:] - logits[..., :1]
        return np.concatenate([logits, distance], -1).astype(np.float32)


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
        >>> from unet_data.spacing.resample import grids_of
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


def resample_dataset(dataset: Dataset, target: TargetSpacing) -> Dataset:
    """Resamples the images of a data set, and their labels, to a pixel size.

    Images are interpolated by third order (linearly along a coarse axis) and keep their dtype. Labels take the most
    probable number, by linear interpolation of each number's mask. Images whose file states no pixel size do not
    change.

    Args:
        dataset: data set in memory.
        target: the pixel size; a network trained on the result stores it.

    Raises:
        InputError: images stay in their files, or the result does not fit into memory.

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
    if dataset.stored:
        raise InputError(
            f"{dataset.source}: images that stay in their files (--loader grain) cannot be resampled to pixels of "
            f"{target}: use --loader memory, write resampled files, or give --spacing none"
        )
    _check_memory(dataset, grids)
    images, labels, instances = list(dataset.images), list(dataset.labels or ()), list(dataset.instances or ())
    new_facts = list(dataset.facts)
    for index, grid in enumerate(grids):
        if grid is None:
            continue
        images[index] = grid.image(images[index])
        own = [each for each in (labels, instances) if each]
        for each, found in zip(own, grid.labels(*(each[index] for each in own)) if own else (), strict=True):
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


def _check_memory(dataset: Dataset, grids: Sequence[Grids | None]) -> None:
    """Raises InputError if the resampled data set does not fit into memory."""
    pixel = dataset.channels * dataset.images[0].dtype.itemsize + 4 * sum(
        each is not None for each in (dataset.labels, dataset.instances)
    )
    needed = sum(math.prod(grid.target) * pixel for grid in grids if grid is not None)
    check_memory(f"{dataset.source}", needed, needed, "resampled images need")
