"""Random training windows, as a pure function of (seed, step)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from ..labels.distances import pack_distances
from ..windows import Windowed, bands, mirror_window
from .dataset import Dataset

if TYPE_CHECKING:
    from jaxtyping import Int64


class Sampler:
    """Draws batches of windows of images and of their labels.

    It has no state: `batch(step)` depends only on (seed, step), so a resumed training gets the same batches as an
    uninterrupted one.

    Args:
        dataset: data set with labels.
        window: spatial size of the windows, (572, 572) for the unpadded U-Net.
        target: spatial size of the central part that the loss covers, (388, 388) for the unpadded U-Net. Per axis, it
            is not larger than the window and differs from it by an even number, so that the centres coincide.
        batch: examples per step.
        seed: random seed, 0 or more.
        weights: a weight map per image, float32, with its label's shape.
        oversample: share of the examples, 0 … 1, whose target contains a rarer class: a class other than the most
            frequent one is drawn, then an image with that class, then one of its pixels. If most pixels are ignored,
            the most frequent class is drawn like the others.
        distances: a map per image, float32 in 0..1, with its label's shape. It is packed into the labels
            (`unet_data.pack_distances`).

    Raises:
        InputError: the data set has no labels, or windows, batch, seed or share do not fit.

    Example:
        >>> from unet_data import Sampler, membranes
        >>> images, labels = Sampler(membranes(2, 64, seed=0), (48, 48), (8, 8), batch=3, seed=0).batch(step=7)
        >>> images.shape, labels.shape
        ((3, 48, 48, 1), (3, 48, 48))
    """

    def __init__(
        self,
        dataset: Dataset,
        window: tuple[int, ...],
        target: tuple[int, ...],
        batch: int,
        seed: int,
        weights: Sequence[np.ndarray] | None = None,
        oversample: float = 0.0,
        distances: Sequence[np.ndarray] | None = None,
    ) -> None:
        if dataset.labels is None:
            raise InputError(f"{dataset.source}: has no labels; training needs them")
        if not len(window) == len(target) == dataset.spatial_dims:
            raise InputError(
                f"window {tuple(window)} and target {tuple(target)} must have {dataset.spatial_dims} "
                f"lengths each, like the images of {dataset.source}"
            )
        for outer, inner in zip(window, target, strict=True):
            if inner < 1 or inner > outer or (outer - inner) % 2:
                raise InputError(
                    f"target {tuple(target)} does not fit centrally into window {tuple(window)}; "
                    "each length must be 1 or more, no larger, and smaller by an even number"
                )
        if batch < 1 or seed < 0:
            raise InputError(f"batch must be 1 or more and seed 0 or more, not {batch} and {seed}")
        for maps, what in ((weights, "weight"), (distances, "distance")):
            if maps is not None and [m.shape for m in maps] != [label.shape for label in dataset.labels]:
                raise InputError(f"{dataset.source}: each {what} map must have the shape of its label")
        if not 0 <= oversample <= 1:
            raise InputError(f"oversample is {oversample}; it must lie in 0 … 1")
        self.dataset, self.weights, self.oversample = dataset, weights, oversample
        self.distances = distances
        self._pixels = _pixels_of_classes(dataset, seed) if oversample else []
        self.window, self.target = tuple(window), tuple(target)
        self.batch_size, self.seed = batch, seed

    def places(self, step: int) -> list[tuple[int, tuple[int, ...]]]:
        """Positions of the examples of a step >= 0: for each, the image's index and the window's first corner."""
        if step < 0:
            raise InputError(f"step must be 0 or more, not {step}")
        rng, rare = np.random.default_rng([self.seed, step]), np.random.default_rng([self.seed, step, 1])
        places = []
        for _ in range(self.batch_size):
            chosen, pixel = int(rng.integers(len(self.dataset))), None
            if self._pixels and rare.random() < self.oversample:
                images = self._pixels[rare.integers(len(self._pixels))]
                chosen, pixels = images[rare.integers(len(images))]
                pixel = pixels[rare.integers(len(pixels))]
            start = []
            for axis, length in enumerate(self.target):
                free = self.dataset.images[chosen].shape[axis] - length
                first, last = min(0, free), max(0, free)
                if pixel is not None:  # the target must contain it
                    first, last = max(first, int(pixel[axis]) - length + 1), min(last, int(pixel[axis]))
                start.append(int((rng if pixel is None else rare).integers(first, last + 1)))
            corner = tuple(s - (o - i) // 2 for s, o, i in zip(start, self.window, self.target, strict=True))
            places.append((chosen, corner))
        return places

    def shapes(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each array that `batch` returns, without reading any image."""
        image, places = self.dataset.images[0], (self.batch_size, *self.window)
        found = [((*places, image.shape[-1]), image.dtype), (places, np.dtype(np.int32))]
        return found if self.weights is None else [*found, (places, np.dtype(np.float32))]

    def batch(self, step: int, rows: slice = slice(None)) -> tuple[np.ndarray, ...]:
        """The windows of one training step.

        Each example has a random image and a random position: the target lies inside the image, with every position
        equally likely, or covers the image if it is larger. Beyond the image's edge, image, label and weight are
        mirrored.

        Args:
            step: 0 or more.
            rows: rows of the batch to return, if several processes share it.

        Returns:
            images (B, *window, C) in the images' dtype; labels (B, *window) int32, with packed distances if there are
            any; and weights (B, *window) float32 if there are any.
        """
        places = self.places(step)[rows]

        def windows(arrays: Sequence[Windowed]) -> np.ndarray:
            return np.stack([mirror_window(arrays[chosen], corner, self.window) for chosen, corner in places])

        assert self.dataset.labels is not None
        images, labels = windows(self.dataset.images), windows(self.dataset.labels)
        if self.distances is not None:
            labels = pack_distances(labels, windows(self.distances))
        return (images, labels) if self.weights is None else (images, labels, windows(self.weights))


MAX_PIXELS = 1000
"""Maximum number of stored pixels per image and class, from which oversampling draws."""


def _pixels_of_classes(dataset: Dataset, seed: int) -> list[list[tuple[int, Int64[np.ndarray, "n axes"]]]]:
    """For each class but the most frequent one: the images in which it occurs, with some of its pixels.

    The most frequent class is included if classes overlap, and if most pixels are ignored, since a random tile may then
    have no labelled pixel.
    """
    assert dataset.labels is not None
    rng = np.random.default_rng(seed)
    counts = dataset.label_counts().sum(0)
    sparse = 2 * counts.sum() < sum(math.prod(label.shape) for label in dataset.labels)
    commonest = -1 if dataset.overlapping or sparse else int(np.argmax(counts))
    found: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(dataset.class_count)]
    for index, label in enumerate(dataset.labels):
        parts: list[list[np.ndarray]] = [[] for _ in found]
        for band in bands(label.shape):
            values, corner = np.asarray(label[band]), [along.start for along in band]
            for number in range(dataset.class_count):
                if number == commonest:
                    continue
                has = (values >= 0) & ((values >> number) & 1 > 0) if dataset.overlapping else values == number
                pixels = np.argwhere(has)
                parts[number].append(rng.permutation(pixels)[:MAX_PIXELS] + np.asarray(corner))
        for number, own in enumerate(parts):
            if own and len(pixels := np.concatenate(own)):
                found[number].append((index, rng.permutation(pixels)[:MAX_PIXELS]))
    return [images for images in found if images]
