"""Renders cells as pictures: phase contrast and differential interference contrast (DIC).

Both start from the optical path through the cells: the cell's thickness at each pixel, increased in nucleoli and
granules. Phase contrast shows the path dark, minus its blur, which leaves the bright halo around a cell that is typical
of such microscopes. DIC shows the slope of the path along one direction, as a relief lit from one side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .noise import smooth
from .outlines import Field
from .population import NUCLEOLI, Population

if TYPE_CHECKING:
    from jaxtyping import Float32

Style = Literal["phase-contrast", "dic"]
_TEXTURE = 512  # pixels per side of the periodic textures


@dataclass(frozen=True)
class Optics:
    """Properties of the microscope and the dish, constant during a sequence.

    Attributes:
        style: style of the microscope.
        diameter: diameter of the cells, in pixels.
        fine, coarse: (t, t) periodic textures of granules and of clumps.
        ground: (H, W) optical path of the dish: its surface and dirt.
        light: (H, W) relative illumination, around 1.
    """

    style: Style
    diameter: float
    fine: Float32[np.ndarray, "t t"]
    coarse: Float32[np.ndarray, "t t"]
    ground: Float32[np.ndarray, "h w"]
    light: Float32[np.ndarray, "h w"]


def optics_of(rng: np.random.Generator, shape: tuple[int, int], style: Style, diameter: float) -> Optics:
    """A random microscope and dish."""
    grain = np.clip(diameter / 60, 0.6, 1.6)
    fine, coarse = (_periodic(rng, sigma * grain) for sigma in (1.1, 3.2))
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    tilt = rng.normal(0, 0.07, 2)
    light = 1 + tilt[0] * y + tilt[1] * x - 0.10 * (y**2 + x**2 - 0.66) + 0.025 * smooth(rng, shape, max(shape) / 5)
    ground = 0.05 * smooth(rng, shape, 1.5 * grain) + 0.06 * smooth(rng, shape, 9 * grain)
    ground += _dirt(rng, shape, diameter)
    return Optics(style, diameter, fine, coarse, ground.astype(np.float32), light.astype(np.float32))


def _periodic(rng: np.random.Generator, sigma: float) -> np.ndarray:
    from scipy import ndimage

    noise = np.asarray(ndimage.gaussian_filter(rng.normal(size=(_TEXTURE, _TEXTURE)), sigma, mode="wrap"))
    return (noise / noise.std()).astype(np.float32)


def _dirt(rng: np.random.Generator, shape: tuple[int, int], diameter: float) -> np.ndarray:
    """Optical path of specks and rings on the dish."""
    found = np.zeros(shape)
    y, x = np.arange(shape[0])[:, None], np.arange(shape[1])[None]
    for _ in range(rng.poisson(shape[0] * shape[1] / (1.6 * diameter) ** 2 / 2)):
        at, size = rng.uniform(0, shape), diameter * rng.uniform(0.012, 0.04)
        box = tuple(slice(max(int(c - 8 * size), 0), int(c + 8 * size) + 1) for c in at)
        distance = np.hypot(y[box[0]] - at[0], x[:, box[1]] - at[1]) / size
        ring = rng.uniform(0, 2.5)
        found[box] += rng.uniform(0.15, 0.6) * np.exp(-((distance - ring) ** 2))
    return found


def picture_of(
    rng: np.random.Generator, population: Population, field: Field, optics: Optics, contrast: float
) -> Float32[np.ndarray, "h w"]:
    """The picture, 0..1, with camera noise."""
    from scipy import ndimage

    path = optics.ground * np.where(field.owner < 0, np.float32(1), np.float32(0.35)) + _path(population, field, optics)
    if optics.style == "phase-contrast":
        sharp = np.asarray(ndimage.gaussian_filter(path, 0.8))
        wide, wider = (np.asarray(ndimage.gaussian_filter(path, optics.diameter * s)) for s in (0.055, 0.2))
        signal = -1.25 * (sharp - 0.78 * wide - 0.20 * wider)
        base, noise = 0.45, 0.016
    else:
        slope = [np.asarray(ndimage.gaussian_filter(path, 1.2, order=[1 - a, a])) for a in (0, 1)]  # type: ignore[arg-type]
        signal = 0.05 * optics.diameter * (0.8 * slope[0] + 0.6 * slope[1])
        base, noise = 0.5, 0.014
    exposed = base * optics.light * (1 + contrast * _bounded(signal))
    shot = np.sqrt(np.maximum(exposed, 0) / base)
    return np.clip(exposed + noise * shot * rng.standard_normal(exposed.shape, np.float32), 0, 1)


def _bounded(signal: np.ndarray) -> np.ndarray:
    """Limits the signal, so that the light is neither negative nor unbounded."""
    return np.tanh(signal / 0.9) * 0.9


def _path(population: Population, field: Field, optics: Optics) -> np.ndarray:
    """Optical path through the cells, (H, W); 0 outside."""
    inside = np.nonzero(field.owner >= 0)
    path = np.zeros(field.owner.shape, np.float32)
    if not len(inside[0]):
        return path
    cells, i = population.cells, field.owner[inside]

    def own(values: np.ndarray) -> np.ndarray:
        """The value of each pixel's cell."""
        return values.astype(np.float32)[i]

    radius, rounded = own(population.radius()), own(population.rounded())
    y, x = (at.astype(np.float32) - own(cells.centre[:, a]) for a, at in enumerate(inside))
    cosine, sine = own(np.cos(cells.angle)), own(np.sin(cells.angle))
    along, across = cosine * x + sine * y, cosine * y - sine * x
    where = across + own(cells.grain[:, 0]), along + own(cells.grain[:, 1])
    fine, coarse = _sampled(optics.fine, where), _sampled(optics.coarse, where)
    share = _NUCLEUS[optics.style]
    along, across = along / (radius * share), across / (radius * share)  # from here on in units of the nucleus's radius
    middle = cells.nucleus / share
    nucleus = np.sqrt((along - own(middle[:, 1])) ** 2 + (1.15 * (across - own(middle[:, 0]))) ** 2)
    spots = np.zeros(len(i), np.float32)
    for k in range(NUCLEOLI):
        spot = middle + cells.nucleoli[:, k]
        squared = (along - own(spot[:, 1])) ** 2 + (across - own(spot[:, 0])) ** 2
        spots += np.exp(squared * np.float32(-1 / (0.16 + 0.05 * k) ** 2))
    make = _phase_contrast if optics.style == "phase-contrast" else _dic
    path[inside] = make(field.depth[inside], radius, nucleus, spots, fine, coarse, rounded)
    return path


_NUCLEUS: dict[Style, float] = {"phase-contrast": 0.34, "dic": 0.52}
"""Radius of the nucleus relative to that of the cell."""


def _phase_contrast(
    depth: np.ndarray,
    radius: np.ndarray,
    nucleus: np.ndarray,
    spots: np.ndarray,
    fine: np.ndarray,
    coarse: np.ndarray,
    rounded: np.ndarray,
) -> np.ndarray:
    """Optical path of a flat cell: thin at its rim, with a thicker body around the nucleus. A dividing cell is round
    and so thick that it looks bright, because a phase shift of more than half a wave is bright again."""
    rim = 1 - np.exp(-depth / (0.07 * radius))
    body = np.exp(-((nucleus / 1.9) ** 2))
    inner = np.clip((1.05 - nucleus) * 6, 0, 1)
    granules = np.maximum(fine - 0.8, 0) * np.exp(-(((nucleus - 1.5) / 0.6) ** 2))
    thickness = rim * (0.50 + 0.60 * body + 0.08 * coarse + 0.06 * fine + 0.22 * granules)
    thickness += inner * rim * (0.45 * spots - 0.22 - 0.05 * fine)
    bright = 0.5 * np.exp(-((depth / (0.11 * radius)) ** 2)) - 1.3 * np.clip(depth / radius, 0, 1) ** 0.8 + 0.08 * fine
    shining = np.clip(2.5 * rounded - 1.5, 0, 1)
    return thickness * (1 + 0.5 * rounded) * (1 - shining) + bright * shining


def _dic(
    depth: np.ndarray,
    radius: np.ndarray,
    nucleus: np.ndarray,
    spots: np.ndarray,
    fine: np.ndarray,
    coarse: np.ndarray,
    rounded: np.ndarray,
) -> np.ndarray:
    """Optical path of a packed cell: a low dome full of granules, with a smooth nucleus and nucleoli."""
    dome = 1 - np.exp(-depth / (0.16 * radius))
    inner = np.clip((1 - nucleus) * 5, 0, 1)
    grains = 0.11 * fine + 0.22 * np.maximum(fine - 1.3, 0) + 0.13 * coarse
    thickness = dome * (1.0 + grains * (1 - 0.85 * inner)) - 0.30 * inner * dome
    thickness += inner * (0.62 * spots + 0.05 * coarse)
    round_one = 2.4 * np.sqrt(np.clip(depth / radius, 0, 1)) + 0.05 * fine
    return thickness * (1 - rounded) + round_one * rounded


def _sampled(texture: np.ndarray, where: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A periodic texture at positions between its pixels, by linear interpolation."""
    whole = [np.floor(v) for v in where]
    rows, columns = (v.astype(np.int32) for v in whole)
    y, x = (v - w for v, w in zip(where, whole, strict=True))

    def at(dy: int, dx: int) -> np.ndarray:
        return texture[(rows + dy) % _TEXTURE, (columns + dx) % _TEXTURE]

    return (at(0, 0) * (1 - x) + at(0, 1) * x) * (1 - y) + (at(1, 0) * (1 - x) + at(1, 1) * x) * y
