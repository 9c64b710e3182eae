"""Renders cells as labels: each pixel belongs to one cell or to none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .population import MODES, Population

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int32

_ANGLES = np.linspace(0, 2 * np.pi, 361)
_ROUND = 0.85  # relative reduction of the waves in a dividing cell's outline


@dataclass(frozen=True)
class Field:
    """The assignment of pixels to cells.

    Attributes:
        owner: (H, W), index of the pixel's cell in the population, or −1.
        depth: (H, W), distance in pixels to the nearest pixel of another owner in the picture.
    """

    owner: Int32[np.ndarray, "h w"]
    depth: Float32[np.ndarray, "h w"]


def field_of(population: Population, shape: tuple[int, int], ruffle: Float32[np.ndarray, "t t"]) -> Field:
    """Draws the outlines. Where two cells overlap, a pixel belongs to the cell in which it lies deeper, so that they
    touch along a line. Each cell is one connected region.

    Args:
        population: population of n cells.
        shape: (H, W).
        ruffle: a periodic texture that roughens outlines.
    """
    cells, radii = population.cells, radii_of(population)
    owner, level = np.full(shape, -1, np.int32), np.ones(shape, np.float32)
    for i in range(len(cells.age)):
        reach = int(radii[i].max() * 1.1) + 2
        low = np.maximum(np.floor(cells.centre[i]).astype(int) - reach, 0)
        high = np.minimum(np.floor(cells.centre[i]).astype(int) + reach + 1, shape)
        if (low >= high).any():
            continue
        box = slice(low[0], high[0]), slice(low[1], high[1])
        y = np.arange(low[0], high[0])[:, None] - cells.centre[i, 0]
        x = np.arange(low[1], high[1])[None] - cells.centre[i, 1]
        y, x = y.astype(np.float32), x.astype(np.float32)
        degrees = np.rint(np.degrees(np.arctan2(y, x) - np.float32(cells.angle[i]))).astype(np.int32) % 360
        own = np.sqrt(y**2 + x**2) / radii[i].astype(np.float32)[degrees]
        rows, columns = ((v + g).astype(int) % len(ruffle) for v, g in zip((y, x), cells.grain[i], strict=True))
        own *= 1 + 0.03 * ruffle[rows, columns]
        closer = own < level[box]
        owner[box] = np.where(closer, i, owner[box])
        level[box] = np.where(closer, own, level[box])
    return _connected(owner)


def radii_of(population: Population) -> Float64[np.ndarray, "n angles"]:
    """The outline of each cell: its distance from the centre in pixels, at each degree from its long axis, 0 to 360."""
    cells = population.cells
    calm = (1 - _ROUND * population.rounded())[:, None]
    waves = np.exp(1j * np.outer(np.arange(2, MODES + 2), _ANGLES))
    ellipse = 0.5 * calm * cells.stretch[:, None] * np.cos(2 * _ANGLES)
    outline = np.exp(np.clip(calm * np.real(cells.waves @ waves) + ellipse, -0.9, 1.0))
    area = (outline[:, :-1] ** 2).mean(axis=1, keepdims=True)
    return population.radius()[:, None] * outline / np.sqrt(area)


def _connected(owner: np.ndarray) -> Field:
    """The field with only the largest piece of each cell, whose pixels are connected by edges."""
    from scipy import ndimage

    shifted = owner + 1
    for i, box in enumerate(ndimage.find_objects(shifted)):
        if box is None:
            continue
        pieces, count = ndimage.label(shifted[box] == i + 1)  # type: ignore[misc]
        if count > 1:
            largest = 1 + int(np.bincount(pieces.ravel())[1:].argmax())
            owner[box][(pieces > 0) & (pieces != largest)] = -1
    edge = np.zeros(owner.shape, bool)
    edge[1:] |= owner[1:] != owner[:-1]
    edge[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    edge[:-1] |= edge[1:] & (owner[1:] != owner[:-1])
    edge[:, :-1] |= owner[:, 1:] != owner[:, :-1]
    if not edge.any():
        return Field(owner, np.full(owner.shape, max(owner.shape), np.float32))
    return Field(owner, np.asarray(ndimage.distance_transform_edt(~edge), np.float32))
