"""Augmentation inside the jitted step: one warp (elastic, rotation, mirror image) for image, label and weight, then
greys.

After the paper, section 3.1: Gaussian displacements of 10 pixels' standard deviation at 3 x 3 points, spread over the
tile by bicubic interpolation; rotation; grey values. The shift is the sampler's, which draws tiles from anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.ndimage import map_coordinates

from unet_spec import InputError


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied.

    Attributes:
        elastic: standard deviation in pixels of the displacements on a grid of 3 points per axis; 0: none.
        rotation: rotations in the image plane are uniform in ± this many degrees.
        mirror: mirror images with probability one half per axis (the depth of a volume included).
        contrast: factor drawn from 1 ± this.
        brightness: offset drawn from ± this, in units of the images' standard deviation.
    """

    elastic: float = 10.0
    rotation: float = 180.0
    mirror: bool = True
    contrast: float = 0.2
    brightness: float = 0.2

    def __post_init__(self) -> None:
        for name in ("elastic", "rotation", "contrast", "brightness"):
            if not 0 <= getattr(self, name) <= 360:
                raise InputError(f"augmentation {name} is {getattr(self, name)}; it must lie in 0 … 360")

    @property
    def warps(self) -> bool:
        return bool(self.elastic or self.rotation or self.mirror)

    def window(self, tile: tuple[int, ...]) -> tuple[int, ...]:
        """Pixels per axis that a warped tile draws on: its diagonal in the plane, and three standard deviations."""
        if not self.warps:
            return tile
        reach = 2 * math.ceil(3 * self.elastic)
        angle = math.radians(min(self.rotation, 45.0))
        plane = tile[-2:]
        turned = max(plane) * math.cos(angle) + max(plane) * math.sin(angle) if self.rotation else 0
        sizes = [*tile[:-2], *(max(n, math.ceil(turned)) for n in plane)]
        return tuple(s + reach + (s + reach - n) % 2 for s, n in zip(sizes, tile, strict=True))


NONE = Augmentation(0.0, 0.0, False, 0.0, 0.0)


def bicubic_matrix(size: int, points: int) -> np.ndarray:
    """(size, points) float32 weights that spread `points` control values over `size` pixels from edge to edge.

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


def _coordinates(key: Array, how: Augmentation, tile: tuple[int, ...], window: tuple[int, ...]) -> Array:
    """(axes, *tile) float32: where in the window each pixel of the warped tile comes from."""
    dims = len(tile)
    elastic, turn, flip = jax.random.split(key, 3)
    centred = [jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2 for n in tile]
    grid = jnp.stack(jnp.meshgrid(*centred, indexing="ij"))
    if how.elastic:
        moved = how.elastic * jax.random.normal(elastic, (dims, *(3,) * dims), jnp.float32)
        for axis, n in enumerate(tile):
            spread = jnp.asarray(bicubic_matrix(n, 3))
            moved = jnp.moveaxis(jnp.tensordot(spread, moved, (1, axis + 1)), 0, axis + 1)
        grid = grid + moved
    if how.rotation:
        angle = jnp.deg2rad(jax.random.uniform(turn, (), jnp.float32, -how.rotation, how.rotation))
        y, x = grid[-2], grid[-1]
        turned = [jnp.cos(angle) * y - jnp.sin(angle) * x, jnp.sin(angle) * y + jnp.cos(angle) * x]
        grid = jnp.stack([*grid[:-2], *turned])
    if how.mirror:
        signs = jnp.where(jax.random.bernoulli(flip, jnp.float32(0.5), (dims,)), -1.0, 1.0)
        grid = grid * signs.reshape(dims, *(1,) * dims)
    middle = (np.asarray(window, np.float32) - 1) / 2
    return grid + middle.reshape(dims, *(1,) * dims)


def augment(
    key: Array, images: Array, labels: Array, tile: tuple[int, ...], how: Augmentation, weights: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """Varies a batch. Each image has its own random numbers; image, label and weight share one warp.

    Args:
        key: a random key.
        images: (N, *window, C) float32, normalised.
        labels: (N, *window) integers. The window is `how.window(tile)`.
        tile: spatial size of the result.
        weights: (N, *window) float32, or None.

    Returns:
        images (N, *tile, C), linearly interpolated, labels (N, *tile), of the nearest pixel, and weights (N, *tile),
        linearly interpolated, or None; each keeps its dtype.
    """
    window = labels.shape[1:]

    def one(key: Array, image: Array, label: Array, weight: Array | None) -> tuple[Array, Array, Array | None]:
        warp, contrast, brightness = jax.random.split(key, 3)
        if how.warps:
            where = tuple(_coordinates(warp, how, tile, window))
            channels = [map_coordinates(image[..., c], where, 1, mode="mirror") for c in range(image.shape[-1])]
            image = jnp.stack(channels, axis=-1)
            label = map_coordinates(label, where, 0, mode="mirror")
            weight = None if weight is None else map_coordinates(weight, where, 1, mode="mirror")
        contrast, brightness = (jax.random.uniform(k, (), image.dtype, -1.0) for k in (contrast, brightness))
        return image * (1 + how.contrast * contrast) + how.brightness * brightness, label, weight

    return jax.vmap(one)(jax.random.split(key, images.shape[0]), images, labels, weights)
