"""The result of an image that was resampled for a network: on the image's own pixels, read by windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_spec import NetworkConfig

from ..spacing.grids import BAND, Grids
from ..windows import Slices, Windows, bands
from .output import Output, on_own_pixels


@dataclass(frozen=True)
class Restored:
    """A result on the image's own pixels, computed window by window from a network's outputs on the target's pixels.

    Attributes:
        outputs: the network's outputs, (*target, K).
        grids: the pixels of the image and of the target.
        output: kind of the result.
        config: the network.
    """

    outputs: Windows
    grids: Grids
    output: Output
    config: NetworkConfig

    @property
    def spatial_dims(self) -> int:
        return len(self.grids.own)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*self.grids.own, *self.output.pixel(self.config)[0])

    @property
    def dtype(self) -> np.dtype:
        return self.output.pixel(self.config)[1]

    def window(self, start: tuple[int, ...], stop: tuple[int, ...], step: int = 1) -> np.ndarray:
        """Every `step`-th pixel in the half-open range from `start` (a multiple of `step`) to `stop` or the edge."""
        stop = tuple(min(b, n) for b, n in zip(stop, self.grids.own, strict=True))
        size = tuple(-(-(b - a) // step) for a, b in zip(start, stop, strict=True))
        values, dtype = self.output.pixel(self.config)
        result = np.empty((*size, *values), dtype)
        source = _Indexed(self.outputs)
        for band in bands(size, BAND // step ** len(size)):
            window = tuple(
                slice(a + s.start * step, min(a + s.stop * step, b), step)
                for a, b, s in zip(start, stop, band, strict=True)
            )
            logits = on_own_pixels(source, self.grids, self.config, self.output.overlapping, window)
            result[band] = self.output.of(logits)
        return result


@dataclass(frozen=True)
class _Indexed:
    """An image (*spatial, K) with `window`, to be read by slices."""

    image: Windows

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def ndim(self) -> int:
        return len(self.image.shape)

    def __getitem__(self, window: Slices) -> np.ndarray:
        return self.image.window(tuple(s.start for s in window), tuple(s.stop for s in window))


def class_shares(images: Sequence[Windows], classes: int) -> tuple[float, ...]:
    """The share of each class in the pixels of images of class numbers, or of masks, one per class.

    Example:
        >>> from unet_data.inference.restored import class_shares
        >>> class Two:
        ...     shape, dtype, spatial_dims = (4, 1), np.dtype(np.uint8), 2
        ...     def window(self, start, stop, step=1):
        ...         return np.array([[0], [1], [1], [1]], np.uint8)[start[0] : stop[0]]
        >>> class_shares([Two()], 2)
        (0.25, 0.75)
    """
    counts: Any = np.zeros(classes, np.int64)
    pixels = 0
    for image in images:
        size = image.shape[: image.spatial_dims]
        for band in bands(size):
            part = image.window(tuple(s.start for s in band), tuple(s.stop for s in band))
            masks = len(image.shape) > len(size)  # of classes that may overlap
            counts = counts + (
                part.reshape(-1, classes).sum(0, dtype=np.int64)
                if masks
                else np.bincount(part.ravel(), minlength=classes)
            )
            pixels += part.size // (classes if masks else 1)
    return tuple(float(share) for share in counts / max(1, pixels))
