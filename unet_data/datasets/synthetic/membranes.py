"""Synthetic pictures like electron micrographs of nerve tissue, from a seed, with exact labels.

Cells are Voronoi regions of jittered points. Some are merged into large ones, and their boundaries are bent by smooth
noise. Membranes are dark lines between them, of varying width. Organelles inside the cells are as dark as membranes but
labelled as cell, so that a threshold cannot solve the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from ...labels.regions import regions
from ..dataset import MEMBRANE_CLASSES, Dataset
from .noise import smooth

if TYPE_CHECKING:
    from jaxtyping import Int32

_CELL_PIXELS = 40.0  # distance of neighbouring cell centres in a large picture
_SMALLEST_CELL = {2: 10.0, 3: 24.0}  # and in the smallest, by dimensions; volumes have more boundary per pixel
_CELLS_ACROSS = 5.0  # cells are smaller in small pictures, so that about this many fit across


def membranes(count: int, size: int | tuple[int, ...], seed: int, channels: int = 1, spatial_dims: int = 2) -> Dataset:
    """A synthetic data set of pictures like electron micrographs of nerve tissue, with labels.

    Picture i depends only on (seed, i, size, channels). The same call gives the same bytes.

    Args:
        count: number of pictures.
        size: pixels per axis: one number for squares and cubes, or (H, W) or (D, H, W), each 8 or more.
        seed: 0 or more.
        channels: number of channels, which show the same tissue with different contrast and noise.
        spatial_dims: 2 for pictures (H, W, C), 3 for volumes (D, H, W, C).

    Returns:
        Images uint8; labels int32, 1 inside of a cell, 0 on the membrane (about a fifth of the pixels), as in ISBI
        2012.

    Raises:
        InputError: count, seed or channels are out of range, or the size does not match spatial_dims.

    Example:
        >>> from unet_data import membranes
        >>> data = membranes(2, (40, 48), seed=0)
        >>> data.images[0].shape, data.labels[0].shape, data.class_names
        ((40, 48, 1), (40, 48), ('membrane', 'cell'))
    """
    shape = _shape(size, spatial_dims)
    if count < 1 or channels < 1 or seed < 0:
        raise InputError(f"count and channels must be 1 or more and seed 0 or more: {count}, {channels}, {seed}")
    pictures = [_draw(np.random.default_rng([seed, index]), shape, channels) for index in range(count)]
    return Dataset(
        images=tuple(image for image, _ in pictures),
        labels=tuple(label for _, label in pictures),
        names=tuple(f"membranes-{index:03d}" for index in range(count)),
        class_names=MEMBRANE_CLASSES,
        source=f"synthetic membranes, seed {seed}",
    )


def membrane_instances(
    count: int, size: int | tuple[int, ...], seed: int, channels: int = 1, spatial_dims: int = 2
) -> tuple[Int32[np.ndarray, "*spatial"], ...]:
    """The cells of `membranes(...)`, numbered.

    Args:
        count, size, seed, channels, spatial_dims: as in `membranes`.

    Returns:
        One array (H, W) or (D, H, W) per picture: 0 is membrane, 1 … n are the connected regions of label 1 (neighbours
        share an edge or a face).

    Example:
        >>> from unet_data import membrane_instances
        >>> [int(cells.max()) for cells in membrane_instances(2, 64, seed=0)]  # cells of each picture
        [29, 30]
    """
    labels = membranes(count, size, seed, channels, spatial_dims).labels
    assert labels is not None
    return tuple(map(regions, labels))


def _shape(size: int | tuple[int, ...], spatial_dims: int) -> tuple[int, ...]:
    shape = (size,) * spatial_dims if isinstance(size, int) else tuple(size)
    if spatial_dims not in (2, 3) or len(shape) != spatial_dims or min(shape) < 8:
        raise InputError(
            f"size {size} does not match {spatial_dims} spatial dimensions; give 2 or 3 lengths of 8 or more"
        )
    return shape


def _draw(rng: np.random.Generator, shape: tuple[int, ...], channels: int) -> tuple[np.ndarray, np.ndarray]:
    spacing = float(np.clip(min(shape) / _CELLS_ACROSS, _SMALLEST_CELL[len(shape)], _CELL_PIXELS))
    scale = spacing / _CELL_PIXELS
    distance, cell = _cells(rng, shape, spacing)
    width = scale * (1.9 + 0.9 * np.clip(smooth(rng, shape, 20 * scale), -0.9, 2.5))  # half of a membrane, in pixels
    label = (distance > width).astype(np.int32)
    inside = np.clip((distance - width) / (2.0 * scale), 0, 1)  # 0 on the membrane, 1 at two pixels from it and beyond

    light = rng.normal(150, 14, cell.max() + 1)[cell]
    light += 10 * smooth(rng, shape, 40 * scale) + 19 * smooth(rng, shape, 1.6)
    light = _organelles(rng, light, distance - width, scale)
    # Membranes cut at a slant look faint, down to the grey of the cells beside them.
    membrane = 62 + 26 * np.clip(smooth(rng, shape, 9 * scale) + 0.3, 0, 2.2)
    tissue = light * inside + membrane * (1 - inside)
    return _expose(rng, tissue, channels), label


def _cells(rng: np.random.Generator, shape: tuple[int, ...], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """(distance to the nearest boundary in pixels, cell number), both of `shape`."""
    from scipy import ndimage, spatial

    grid = [np.arange(-1.5, length / spacing + 1.5) for length in shape]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1).reshape(-1, len(shape))
    points = (points + rng.uniform(-0.48, 0.48, points.shape)) * spacing
    numbers = np.arange(len(points))
    # Tissue has cells of very different sizes, so some neighbourhoods of points become one cell.
    for _ in range(max(1, len(points) // 22)):
        centre = points[rng.integers(len(points))]
        numbers[np.linalg.norm(points - centre, axis=1) < spacing * rng.uniform(0.9, 2.1)] = rng.integers(len(points))

    position = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"), axis=-1)
    for axis in range(len(shape)):
        position[..., axis] += spacing * (0.35 * smooth(rng, shape, 0.9 * spacing))
        position[..., axis] += spacing * (0.07 * smooth(rng, shape, 0.2 * spacing))
    _, nearest = spatial.KDTree(points).query(position.reshape(-1, len(shape)), k=1)
    cell = numbers[nearest].reshape(shape)

    boundary = np.zeros(shape, bool)
    for axis in range(len(shape)):
        ahead, behind = [slice(None)] * len(shape), [slice(None)] * len(shape)
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = cell[tuple(ahead)] != cell[tuple(behind)]
        boundary[tuple(ahead)] |= differs
        boundary[tuple(behind)] |= differs
    if not boundary.any():  # a picture smaller than one cell
        return np.full(shape, spacing), cell
    return np.asarray(ndimage.distance_transform_edt(~boundary), np.float64), cell


def _organelles(rng: np.random.Generator, light: np.ndarray, depth: np.ndarray, scale: float) -> np.ndarray:
    """Draws mitochondria (large, dark, striped, with a dark rim) and vesicles (small rings) into the cells.

    `light` holds grey values, `depth` the distance from the membrane in pixels. Organelles do not touch the membrane.
    """
    shape, dims = light.shape, light.ndim
    area = float(np.prod([length / (scale * _CELL_PIXELS) for length in shape]))
    light = light.copy()
    kinds = [("mitochondrion", int(np.ceil(area / 3.5)), (8.0, 22.0)), ("vesicle", int(area * 2), (2.4, 4.2))]
    for kind, number, radii in kinds:
        candidates = np.flatnonzero(depth > scale * (radii[0] + 1))
        for _ in range(number if len(candidates) else 0):
            centre = np.array(np.unravel_index(rng.choice(candidates), shape))
            room = float(depth[tuple(centre)]) - scale
            radius = min(scale * rng.uniform(*radii), room)
            stretch = rng.uniform(0.55, 1.0, dims) if kind == "mitochondrion" else np.ones(dims)
            turn = np.linalg.qr(rng.normal(size=(dims, dims)))[0] if kind == "mitochondrion" else np.eye(dims)
            low = np.maximum(centre - int(radius) - 2, 0)
            high = np.minimum(centre + int(radius) + 3, shape)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            mesh = np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij")
            place = (np.stack(mesh, axis=-1) - centre) @ turn
            r = np.linalg.norm(place / (radius * stretch), axis=-1)
            if kind == "mitochondrion":
                stripes = 76 + 18 * np.sin(place[..., 0] * 1.3 / scale + rng.uniform(0, 6))
                value = np.where(r > 1 - 2.2 * scale / radius, 56.0, stripes)
            else:
                value = np.where(r > 0.45, 84.0, 140.0)
            edge = np.clip((1 - r) * radius, 0, 1)
            light[box] = light[box] * (1 - edge) + value * edge
    return light


def _expose(rng: np.random.Generator, tissue: np.ndarray, channels: int) -> np.ndarray:
    """Simulates the microscope: blur, uneven light, contrast per channel, noise. (*shape) to (*shape, C) uint8."""
    from scipy import ndimage

    blurred = np.asarray(ndimage.gaussian_filter(tissue, 0.8))
    blurred *= 1 + 0.05 * smooth(rng, tissue.shape, max(tissue.shape) / 6)
    image = np.empty((*tissue.shape, channels), np.uint8)
    for channel in range(channels):
        contrast = 1.0 if channel == 0 else rng.uniform(0.6, 1.1)
        noisy = 128 + contrast * (blurred - 128) + rng.normal(0, 19, tissue.shape)
        image[..., channel] = np.clip(np.rint(noisy), 0, 255)
    return image
