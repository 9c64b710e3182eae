"""Six kinds of labelled images that differ from those that the plan's rules were chosen on, from a seeded generator."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from unet_data import Dataset, FileFacts, membranes

SIZE = 192
"""Pixels per axis of an image."""
TRAINING, SCORED = 12, 8
"""Number of images to train on and to score."""


def _noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> np.ndarray:
    """Smooth noise with a standard deviation of 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="wrap")
    return noise / noise.std()


def _discs(rng: np.random.Generator, count: int, radii: tuple[float, float], taken: np.ndarray) -> np.ndarray:
    """A mask of up to `count` discs that leave `taken` and each other free by a pixel."""
    mask = np.zeros(taken.shape, bool)
    y, x = np.indices(taken.shape)
    for _ in range(count):
        radius = rng.uniform(*radii)
        distance = np.hypot(*(axis - rng.uniform(0, n) for axis, n in zip((y, x), taken.shape, strict=True)))
        if not (taken | mask)[distance <= radius + 1.5].any():
            mask |= distance <= radius
    return mask


def _exposed(rng: np.random.Generator, signal: np.ndarray, noise: float) -> np.ndarray:
    """uint8 of a signal in 0..1, blurred and with noise."""
    seen = ndimage.gaussian_filter(signal, 0.8) + noise * rng.standard_normal(signal.shape)
    return np.clip(255 * seen, 0, 255).astype(np.uint8)


def _tiny(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spots of 3 to 5 pixels on an uneven background, among darker ones that are none."""
    spots = _discs(rng, 90, (1.5, 2.5), np.zeros((SIZE, SIZE), bool))
    others = _discs(rng, 60, (1.5, 2.5), spots)
    signal = 0.35 + 0.06 * _noise(rng, spots.shape, 20) + 0.3 * spots - 0.2 * others
    return _exposed(rng, signal, 0.06), spots.astype(np.int32)


def _rare(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A disc with about 0.5 % of the pixels, which differs from many others by its texture."""
    wanted = _discs(rng, 1, (7.0, 9.0), np.zeros((SIZE, SIZE), bool))
    others = _discs(rng, 40, (6.0, 12.0), wanted)
    grain = 0.12 * _noise(rng, wanted.shape, 1.2)
    signal = 0.3 + 0.04 * _noise(rng, wanted.shape, 15) + 0.25 * (wanted | others) + grain * wanted
    return _exposed(rng, signal, 0.04), wanted.astype(np.int32)


def _three(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Background, bodies, and bodies with a dark rim: the class is not seen in one pixel."""
    plain = _discs(rng, 14, (8.0, 16.0), np.zeros((SIZE, SIZE), bool))
    rimmed = _discs(rng, 14, (8.0, 16.0), plain)
    inner = np.asarray(ndimage.binary_erosion(rimmed, iterations=2), bool)
    rim = rimmed & ~inner
    signal = 0.4 + 0.05 * _noise(rng, plain.shape, 18) + 0.22 * (plain | rimmed) - 0.25 * rim
    return _exposed(rng, signal, 0.07), plain + 2 * rimmed.astype(np.int32)


def _twelve_bit(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Cells in uint16 with values of 12 bits, photon noise, and a brightness that differs from image to image."""
    cells = _discs(rng, 30, (7.0, 14.0), np.zeros((SIZE, SIZE), bool))
    light = rng.uniform(0.3, 3.0) * (20 + 60 * ndimage.gaussian_filter(cells.astype(float), 1.5))
    light *= 1 + 0.3 * _noise(rng, cells.shape, 6).clip(-2, 2)
    counts = rng.poisson(light.clip(0.1)) * 8 + 200 + rng.normal(0, 10, cells.shape)
    return np.clip(counts, 0, 4095).astype(np.uint16), cells.astype(np.int32)


def _dataset(name: str, pairs: list[tuple[np.ndarray, np.ndarray]], classes: tuple[str, ...]) -> Dataset:
    return Dataset(
        images=tuple(image[..., None] for image, _ in pairs),
        labels=tuple(label for _, label in pairs),
        names=tuple(f"{name}-{i:02d}" for i in range(len(pairs))),
        class_names=classes,
        source=f"synthetic: {name}",
    )


def _drawn(
    name: str,
    draw: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
    *classes: str,
    count: int = TRAINING,
) -> tuple[Dataset, Dataset]:
    pairs = [draw(np.random.default_rng([zlib.crc32(name.encode()), i])) for i in range(count + SCORED)]
    return _dataset(name, pairs[:count], classes), _dataset(name, pairs[count:], classes)


def _sections() -> tuple[Dataset, Dataset]:
    """Membranes in sections that are five times as thick as a pixel is wide."""
    whole = membranes(9, (100, 96, 96), seed=5, spatial_dims=3)
    assert whole.labels is not None
    pairs = [
        (np.asarray(i)[2::5, ..., 0], np.asarray(lb)[2::5]) for i, lb in zip(whole.images, whole.labels, strict=True)
    ]
    facts = FileFacts(spacing=(5.0, 1.0, 1.0), unit="µm")
    parts = (_dataset("thick sections", part, whole.class_names) for part in (pairs[:6], pairs[6:]))
    first, second = (replace(part, facts=(facts,) * len(part)) for part in parts)
    return first, second


KINDS: dict[str, Callable[[], tuple[Dataset, Dataset]]] = {
    "tiny objects": lambda: _drawn("tiny objects", _tiny, "background", "spot"),
    "rare class": lambda: _drawn("rare class", _rare, "other", "rough disc"),
    "three classes": lambda: _drawn("three classes", _three, "background", "plain", "rimmed"),
    "12 bits": lambda: _drawn("12 bits", _twelve_bit, "background", "cell"),
    "thick sections": _sections,
    "four images": lambda: _drawn("four images", _three, "background", "plain", "rimmed", count=4),
}
"""By name: the images to train on and those to score."""
