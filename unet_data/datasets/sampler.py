"""Random training windows, as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from unet_spec.errors import InputError

from ..windows import mirror_window
from .dataset import Dataset


class Sampler:
    """Draws batches of windows of images and of their labels.

    There is no state: `batch(step)` depends on (seed, step) alone, so that training resumed at a step sees what it
    would have seen.

    Args:
        dataset: with labels.
        window: spatial size that is cut out, (572, 572) for the unpadded U-Net.
        target: spatial size of the part at its centre that the loss looks at, (388, 388) there. Per axis it is no
            larger and differs by an even number, so that both have one centre.
        batch: examples of a step.
        seed: 0 or more.
        weights: a map for each image, float32, of its label's shape.

    Raises:
        InputError: the data set has no labels, or windows, batch or seed do not fit.

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
    ) -> None:
        if dataset.labels is None:
            raise InputError(f"{dataset.source}: has no labels; training needs them")
        if not len(window) == len(target) == dataset.spatial_dims:
            raise InputError(
                f"window {tuple(window)} and target {tuple(target)} must have {dataset.spatial_dims} "
                f"lengths each, as the images of {dataset.source} do"
            )
        for outer, inner in zip(window, target, strict=True):
            if inner < 1 or inner > outer or (outer - inner) % 2:
                raise InputError(
                    f"target {tuple(target)} does not fit into the middle of window {tuple(window)}; "
                    "each length must be 1 or more, no larger, and smaller by an even number"
                )
        if batch < 1 or seed < 0:
            raise InputError(f"batch must be 1 or more and seed 0 or more, not {batch} and {seed}")
        if weights is not None and [w.shape for w in weights] != [label.shape for label in dataset.labels]:
            raise InputError(f"{dataset.source}: each weight map must have the shape of its label")
        self.dataset, self.weights = dataset, weights
        self.window, self.target = tuple(window), tuple(target)
        self.batch_size, self.seed = batch, seed

    def places(self, step: int) -> list[tuple[int, tuple[int, ...]]]:
        """Where the examples of a step >= 0 come from: the image's index and the window's first corner, for each."""
        if step < 0:
            raise InputError(f"step must be 0 or more, not {step}")
        rng = np.random.default_rng([self.seed, step])
        places = []
        for _ in range(self.batch_size):
            chosen = int(rng.integers(len(self.dataset)))
            room = [
                size - length for size, length in zip(self.dataset.images[chosen].shape[:-1], self.target, strict=True)
            ]
            start = [int(rng.integers(min(0, free), max(0, free) + 1)) for free in room]
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

        Each example takes an image at random and a position at random: the target lies inside the image, every position
        equally likely, or covers the image where it is the larger. The window around it is mirrored beyond the image's
        edge, in image, label and weight alike.

        Args:
            step: 0 or more.
            rows: of the batch, where several processes share it.

        Returns:
            images (B, *window, C) in the images' dtype, labels (B, *window) int32 and, where there are weights, these,
            (B, *window) float32.
        """
        sources = [self.dataset.images, self.dataset.labels, self.weights]
        places = self.places(step)[rows]
        return tuple(
            np.stack([mirror_window(arrays[chosen], corner, self.window) for chosen, corner in places])
            for arrays in sources
            if arrays is not None
        )
