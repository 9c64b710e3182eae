"""Smooth random fields."""

from __future__ import annotations

import numpy as np


def smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Gaussian noise of `shape`, float64, smooth over `sigma` pixels, with a standard deviation of about 1.

    It is drawn on a coarse grid and interpolated, because a wide filter at full size would be slow.
    """
    from scipy import ndimage

    step = max(1.0, sigma / 2)
    coarse = tuple(int(np.ceil(length / step)) + 4 for length in shape)
    noise = np.asarray(ndimage.gaussian_filter(rng.normal(size=coarse), sigma / step, mode="wrap"))
    noise /= noise.std() + 1e-12
    if step == 1.0:
        return noise[tuple(slice(0, length) for length in shape)]
    for axis, length in enumerate(shape):  # linear interpolation, one axis after the other
        at = np.arange(length) / step + 1
        low = at.astype(int)
        part = (at - low).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        noise = np.take(noise, low, axis) * (1 - part) + np.take(noise, low + 1, axis) * part
    return noise
