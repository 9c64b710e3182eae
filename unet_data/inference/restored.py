"""The result of an image that was resampled for a network: on the image's own pixels, read by windows."""

from __future__ import annotations

from dataclasses import dataclass

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
