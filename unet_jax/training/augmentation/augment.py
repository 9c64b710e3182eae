"""Augmentation inside the jitted step: one warp for image, label and weight (elastic, rotation, scale, quarter turns,
mirror image), then grey values.

After Ronneberger et al. 2015, section 3.1: Gaussian displacements with a standard deviation of 10 pixels at 3 x 3
points, interpolated over the tile by bicubic splines; rotation; grey values. The sampler draws tiles at random
positions, so shifts are not needed here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Integer, Key

from unet_spec.network import require

from ..devices.warp import sample, sample_by_blocks
from .greys import change_greys, happens, log_factor

LARGEST = {"scale": 3, "blur": 10, "low_resolution": 7, "gamma": 3, "noise": 10, "share": 1}
"""Maximum values, which limit memory and keep images recognisable; 360 for all others."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images; 0 turns a change off.

    Attributes:
        elastic: Elastic deformation: standard deviation, in pixels, of displacements on a grid of 3 points per axis.
        rotation: Maximum rotation in the image plane, in degrees, in either direction.
        mirror: Mirror each axis with probability 0.5, including the depth of a volume.
        contrast: Contrast range: 0.2 multiplies images by 0.8 to 1.2.
        brightness: Maximum offset added to or subtracted from images, in units of their standard deviation.
        turns: Turn by 0, 90, 180 or 270 degrees in the image plane; square tiles need no interpolation.
        scale: Zoom range: 0.25 scales images by factors of 1/1.25 to 1.25.
        blur: Maximum standard deviation of a Gaussian blur in the image plane, in pixels.
        low_resolution: Resolution loss: 1.0 samples the image plane up to 2 times more coarsely and interpolates back.
        gamma: Gamma range: 0.5 raises grey values, rescaled to 0 to 1, to a power of 1/1.5 to 1.5.
        noise: Maximum standard deviation of Gaussian noise, in units of the images' standard deviation.
        share: Probability of elastic deformation, rotation, scale, blur, low resolution, gamma and noise, drawn for
            each change and tile. The other changes are drawn for every tile.

    Example:
        >>> Augmentation(elastic=0.0).window((100, 100))  # a square of 100 pixels, turned by 45 degrees
        (142, 142)
    """

    elastic: float = 10.0
    rotation: float = 180.0
    mirror: bool = True
    contrast: float = 0.2
    brightness: float = 0.2
    turns: bool = False
    scale: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    share: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            largest = LARGEST.get(field.name, 360)
            require(0 <= value <= largest, f"augmentation {field.name}", value, f"in 0 … {largest}")

    @property
    def warps(self) -> bool:
        """Whether pixels move."""
        return bool(self.elastic or self.rotation or self.scale or self.turns or self.mirror)

    def window(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Pixels per axis of the window that a warped tile is sampled from: the tile's diagonal in the image plane,
        scaled, plus three standard deviations of the displacement."""
        if not self.warps:
            return tile
        reach = 2 * math.ceil(3 * self.elastic)
        angle = math.radians(min(self.rotation, 45.0))
        plane = tile[-2:]
        turned = max(plane) * math.cos(angle) + max(plane) * math.sin(angle) if self.rotation or self.turns else 0
        zoom = 1 + self.scale
        sizes = [*(math.ceil(zoom * n) for n in tile[:-2]), *(math.ceil(zoom * max(n, turned)) for n in plane)]
        return tuple(s + reach + (s + reach - n) % 2 for s, n in zip(sizes, tile, strict=True))


NONE = Augmentation(0.0, 0.0, False, 0.0, 0.0)
"""No augmentation."""


def bicubic_matrix(size: int, points: int) -> Float32[np.ndarray, "size points"]:
    """Weights that interpolate `points` control values at `size` pixels from edge to edge.

    Keys' cubic convolution, a = −1/2 (Keys 1981, equation 15); control points beyond the ends repeat the last one.
    """
    position = np.linspace(0, points - 1, size) if size > 1 else np.zeros(1)
    matrix = np.zeros((size, points))
    base = np.floor(position).astype(int)
    for tap in range(-1, 3):
        d = np.abs(position - (base + tap))
        near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0.0))
        np.add.at(matrix, (np.arange(size), np.clip(base + tap, 0, points - 1)), weight)
    return matrix.astype(np.float32)


def _coordinates(
    key: Key[Array, ""], how: Augmentation, tile: tuple[int, ...], window: tuple[int, ...]
) -> Float32[Array, " axes *tile"]:
    """For each pixel of the warped tile, its source position in the window."""
    dims = len(tile)
    elastic, turn, flip, zoom = jax.random.split(key, 4)
    centred = [jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2 for n in tile]
    grid = jnp.stack(jnp.meshgrid(*centred, indexing="ij"))
    if how.elastic:
        moved = how.elastic * jax.random.normal(elastic, (dims, *(3,) * dims), jnp.float32)
        for axis, n in enumerate(tile):
            interpolation = jnp.asarray(bicubic_matrix(n, 3))
            moved = jnp.moveaxis(jnp.tensordot(interpolation, moved, (1, axis + 1)), 0, axis + 1)
        grid = grid + moved * happens(key, how.share, 0)
    if how.scale:
        grid = grid * jnp.exp(log_factor(zoom, how.scale) * happens(key, how.share, 2))
    if how.turns:  # in integers, so that no pixel is interpolated
        quarter = jax.random.randint(jax.random.fold_in(turn, 0), (), 0, 4)
        cos, sin = jnp.asarray([1.0, 0.0, -1.0, 0.0])[quarter], jnp.asarray([0.0, 1.0, 0.0, -1.0])[quarter]
        y, x = grid[-2], grid[-1]
        grid = jnp.stack([*grid[:-2], cos * y - sin * x, sin * y + cos * x])
    if how.rotation:
        angle = jnp.deg2rad(jax.random.uniform(turn, (), jnp.float32, -how.rotation, how.rotation)) * happens(
            key, how.share, 3
        )
        y, x = grid[-2], grid[-1]
        turned = [jnp.cos(angle) * y - jnp.sin(angle) * x, jnp.sin(angle) * y + jnp.cos(angle) * x]
        grid = jnp.stack([*grid[:-2], *turned])
    if how.mirror:
        signs = jnp.where(jax.random.bernoulli(flip, jnp.float32(0.5), (dims,)), -1.0, 1.0)
        grid = grid * signs.reshape(dims, *(1,) * dims)
    middle = (np.asarray(window, np.float32) - 1) / 2
    return grid + middle.reshape(dims, *(1,) * dims)


def augment(
    key: Key[Array, ""],
    images: Float[Array, "n *window c"],
    labels: Integer[Array, " n *window"],
    tile: tuple[int, ...],
    how: Augmentation,
    weights: Float[Array, " n *window"] | None = None,
    platform: str | None = None,
) -> tuple[Float[Array, "n *tile c"], Integer[Array, " n *tile"], Float[Array, " n *tile"] | None]:
    """Augments a batch. Each image has its own random numbers; image, label and weight share one warp.

    Args:
        key: a random key.
        images: (N, *window, C) float32, normalised.
        labels: (N, *window) integers. The window is `how.window(tile)`.
        tile: spatial size of the result (pixels per axis).
        how: the random changes.
        weights: (N, *window) float32, or None.
        platform: platform to compile for, "cpu", "gpu" or "tpu"; None: JAX's default. Results are equal up to rounding.

    Returns:
        images (N, *tile, C), linearly interpolated, labels (N, *tile), of the nearest pixel, and weights (N, *tile),
        linearly interpolated, or None; dtypes do not change.

    Example:
        >>> how = Augmentation(elastic=2.0)
        >>> images, labels = jnp.ones((1, *how.window((28, 28)), 1)), jnp.zeros((1, *how.window((28, 28))), int)
        >>> [x.shape for x in augment(jax.random.key(0), images, labels, (28, 28), how)[:2]]
        [(1, 28, 28, 1), (1, 28, 28)]
    """
    window = labels.shape[1:]
    at = sample_by_blocks if (platform or jax.default_backend()) == "tpu" else sample

    def one(key: Array, image: Array, label: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
        warp, contrast, brightness = jax.random.split(key, 3)
        if how.warps:
            where = _coordinates(warp, how, tile, window)
            image, label, weight = at(image, label, weight, where)
        image = change_greys(
            jax.random.fold_in(key, 1), image, how.blur, how.low_resolution, how.gamma, how.noise, how.share
        )
        contrast, brightness = (jax.random.uniform(k, (), image.dtype, -1.0) for k in (contrast, brightness))
        return image * (1 + how.contrast * contrast) + how.brightness * brightness, label, weight

    return jax.vmap(one)(jax.random.split(key, images.shape[0]), images, labels, weights)
