"""Changes of grey values inside the jitted step: blur, low resolution, gamma, noise.

These are changes that nnU-Net makes, too (Isensee et al. 2021), here in the order in which a microscope makes them:
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
    """1 with probability `share`, else 0: draw `number` of this key."""
    if share == 1:
        return 1.0
    return jax.random.bernoulli(jax.random.fold_in(key, 1000 + number), jnp.float32(share)).astype(jnp.float32)


def log_factor(key: Key[Array, ""], most: float) -> Float32[Array, ""]:
    """Logarithm of a factor between 1 / (1 + most) and 1 + most; either way is as probable."""
    return jax.random.uniform(key, (), jnp.float32, -math.log1p(most), math.log1p(most))


def change_greys(
    key: Key[Array, ""],
    image: Float[Array, "*tile c"],
    blur: float = 0.0,
    low_resolution: float = 0.0,
    gamma: float = 0.0,
    noise: float = 0.0,
    share: float = 1.0,
) -> Float[Array, "*tile c"]:
    """Changes one image; what is 0 costs nothing. The numbers are explained in `Augmentation`.

    Args:
        key: a random key.
        image: (*tile, C) floating, normalised.
        blur, low_resolution, gamma, noise: the largest changes.
        share: the probability of each.

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
    """Weights with a Gaussian along an axis, `reach` pixels to either side, mirrored at the ends. A deviation of 0
    leaves the image as it is."""
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
    """Takes the nearest pixel at every `factor` pixels along an axis, and interpolates linearly between them. A factor
    of 1 leaves the image as it is."""
    n = image.shape[axis]
    place = jnp.arange(n) / factor
    below = jnp.floor(place)
    share = (place - below).astype(image.dtype).reshape(-1, *(1,) * (image.ndim - 1 - axis))
    near, far = (jnp.clip(jnp.round(k * factor), 0, n - 1).astype(jnp.int32) for k in (below, below + 1))
    return jnp.take(image, near, axis) * (1 - share) + jnp.take(image, far, axis) * share
