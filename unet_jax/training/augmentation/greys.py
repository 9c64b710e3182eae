"""Augmentation of grey values inside the jitted step: blur, low resolution, gamma, noise.

nnU-Net uses the same changes (Isensee et al. 2021). Here they follow the order of image formation in a microscope:
optics, sampling, contrast, noise.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Key


def happens(key: Key[Array, ""], share: float, number: int) -> Float32[Array, ""] | float:
    """1 with probability `share`, else 0. `number`: number of the draw from this key."""
    if share == 1:
        return 1.0
    return jax.random.bernoulli(jax.random.fold_in(key, 1000 + number), jnp.float32(share)).astype(jnp.float32)


def log_factor(key: Key[Array, ""], largest: float) -> Float32[Array, ""]:
    """Logarithm of a random factor between 1 / (1 + largest) and 1 + largest, symmetric about 0."""
    return jax.random.uniform(key, (), jnp.float32, -math.log1p(largest), math.log1p(largest))


def change_greys(
    key: Key[Array, ""],
    image: Float[Array, "*tile c"],
    blur: float = 0.0,
    low_resolution: float = 0.0,
    gamma: float = 0.0,
    noise: float = 0.0,
    share: float = 1.0,
) -> Float[Array, "*tile c"]:
    """Augments the grey values of one image; changes that are 0 cost no time. `Augmentation` explains the parameters.

    Args:
        key: a random key.
        image: (*tile, C) floating, normalised.
        blur, low_resolution, gamma, noise: maximum changes.
        share: probability of each change.

    Returns:
        The image, in its dtype.

    Example:
        >>> change_greys(jax.random.key(0), jnp.ones((28, 28, 1)), blur=1.0, noise=0.1).shape
        (28, 28, 1)
    """
    keys = jax.random.split(jax.random.fold_in(key, 0), 5)
    plane = (image.ndim - 3, image.ndim - 2)

    def drawn(number: int, largest: float) -> Array:
        uniform = jax.random.uniform(keys[number], (), jnp.float32, 0.0, largest)
        return (uniform * happens(key, share, number)).astype(image.dtype)

    if blur:
        deviation = drawn(0, blur)
        for axis in plane:
            image = blurred(image, axis, deviation, math.ceil(3 * blur))
    if low_resolution:
        factor = 1 + drawn(1, low_resolution)
        for axis in plane:
            image = coarse(image, axis, factor)
    if gamma:
        exponent = jnp.exp(log_factor(keys[2], gamma) * happens(key, share, 2)).astype(image.dtype)
        low = image.min()
        span = jnp.maximum(image.max() - low, 1e-6)
        image = ((image - low) / span) ** exponent * span + low
    if noise:
        image = image + drawn(3, noise) * jax.random.normal(keys[4], image.shape, image.dtype)
    return image


def blurred(
    image: Float[Array, "*tile c"], axis: int, deviation: Float[Array, ""], reach: int
) -> Float[Array, "*tile c"]:
    """Gaussian blur along an axis, `reach` pixels to either side, mirrored at the ends. A standard deviation of 0 does
    not change the image."""
    reach = min(reach, image.shape[axis] - 1)
    offsets = np.arange(-reach, reach + 1)
    weights = jnp.exp(-(offsets**2) / (2 * jnp.maximum(deviation, 1e-3) ** 2)).astype(image.dtype)
    padded = jnp.pad(image, [(reach, reach) if a == axis else (0, 0) for a in range(image.ndim)], mode="reflect")
    result = jnp.zeros_like(image)
    for k in range(2 * reach + 1):
        part = jax.lax.slice_in_dim(padded, k, k + image.shape[axis], axis=axis)
        result = result + weights[k] / weights.sum() * part
    return result


def coarse(image: Float[Array, "*tile c"], axis: int, factor: Float[Array, ""]) -> Float[Array, "*tile c"]:
    """Samples the nearest pixel every `factor` pixels along an axis, and interpolates linearly between the samples. A
    factor of 1 does not change the image."""
    n = image.shape[axis]
    place = jnp.arange(n) / factor
    below = jnp.floor(place)
    share = (place - below).astype(image.dtype).reshape(-1, *(1,) * (image.ndim - 1 - axis))
    near, far = (jnp.clip(jnp.round(k * factor), 0, n - 1).astype(jnp.int32) for k in (below, below + 1))
    return jnp.take(image, near, axis) * (1 - share) + jnp.take(image, far, axis) * share
