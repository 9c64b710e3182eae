"""The usual mistakes in a labelled data set, found before an hour is spent on them.

What `open_dataset` cannot read at all (unpaired files, unequal sizes, masks in two conventions) it refuses by itself;
this looks at what can be read and still trains badly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unet_data.dataset import Dataset, split
from unet_data.labels import IGNORED, class_counts

RARE = 0.005
"""A class with a smaller share of the pixels than this is hardly ever seen in a tile."""

ALIKE = 0.98
"""Two images whose correlation is above this are nearly the same picture."""

BLOCKS = 64 * 64
"""So many blocks of an image are compared before the image itself is."""

ROUNDING = 1e-3
"""More than float32 can be wrong by in a comparison of blocks."""


@dataclass(frozen=True)
class Problem:
    """One finding. level: "error" where training would be for nothing, "warning" where it may be as it should."""

    level: Literal["error", "warning"]
    where: str
    what: str


def check_dataset(dataset: Dataset, least: int = 0) -> list[Problem]:
    """All findings, errors first. least: pixels per axis that the smallest tile of the network covers; 0: unknown."""
    found = [*_images(dataset, least), *_labels(dataset), *_leaks(dataset)]
    return sorted(found, key=lambda problem: problem.level)


def _images(dataset: Dataset, least: int) -> Iterator[Problem]:
    sizes = {image.shape[:-1] for image in dataset.images}
    if len(sizes) > 1:
        told = ", ".join("x".join(map(str, s)) for s in sorted(sizes)[:4])
        yield Problem("warning", dataset.source, f"images of {len(sizes)} sizes ({told}, …)")
    for name, image in zip(dataset.names, dataset.images, strict=True):
        if image.min() == image.max():
            yield Problem("error", name, f"every pixel is {image.flat[0]}: an empty image")
        elif image.dtype == np.uint8 and image.max() <= 8:
            yield Problem("warning", name, f"8-bit, but no value above {image.max()}: a mask among the images?")
        if least and min(image.shape[:-1]) < least:
            yield Problem(
                "warning", name, f"smaller than the {least} pixels of a tile: most of what is seen is mirrored"
            )
    channels = dataset.images[0].shape[-1]
    if channels == 3 and all((image == image[..., :1]).all() for image in dataset.images):
        yield Problem("warning", dataset.source, "three equal channels: grey images stored as colour")


def _labels(dataset: Dataset) -> Iterator[Problem]:
    if dataset.labels is None:
        yield Problem("error", dataset.source, "there are no labels")
        return
    counts = np.stack([class_counts(label, dataset.class_count) for label in dataset.labels])
    sizes = [label.size for label in dataset.labels]
    if dataset.ignore is not None and counts.sum() == sum(sizes):
        yield Problem("warning", dataset.source, f"no label is {dataset.ignore}, which is to be ignored")
    shares = counts.sum(0) / max(counts.sum(), 1)
    for index, (name, share) in enumerate(zip(dataset.class_names, shares, strict=True)):
        if share == 0:
            yield Problem("error", dataset.source, f"class {index} ({name}) has no pixel at all")
        elif share < RARE:
            yield Problem(
                "warning", dataset.source, f"class {index} ({name}) has {share:.2%} of the pixels: weigh or balance it"
            )
    for name, row in zip(dataset.names, counts, strict=True):
        if not row.sum():
            yield Problem("warning", name, "every pixel of its label is ignored")
        if (row > 0).sum() == 1 and len(dataset) > 1:
            yield Problem("warning", name, f"only class {int(row.argmax())} occurs in its label")
    for name, image, label in zip(dataset.names, dataset.images, dataset.labels, strict=True):
        if image.shape[-1] == 1 and _is_mask(image[..., 0], label):
            yield Problem("error", name, "the image is its own label")


def _is_mask(image: np.ndarray, label: np.ndarray) -> bool:
    image, label = image[label != IGNORED], label[label != IGNORED]
    return len(np.unique(image)) == 2 and bool(((image > image.min()) == (label > 0)).all())


def _leaks(dataset: Dataset) -> Iterator[Problem]:
    """Images that occur twice, and neighbours across the border between training and validation."""
    seen: dict[bytes, str] = {}
    for name, image in zip(dataset.names, dataset.images, strict=True):
        key = repr(image.shape).encode() + image.tobytes()
        if key in seen:
            yield Problem("error", name, f"the same picture as {seen[key]}: if one trains, the other cannot validate")
        seen.setdefault(key, name)
    if len(dataset) < 2:
        return
    training, validation = split(dataset)
    for name, image, likely in zip(validation.names, validation.images, _candidates(training, validation), strict=True):
        for index in likely:
            known = training.images[index]
            if _correlation(known, image) > ALIKE and not np.array_equal(known, image):
                what = f"nearly the same picture as {training.names[index]}, which trains: scores will flatter"
                yield Problem("warning", name, what)
                break


def _candidates(training: Dataset, validation: Dataset) -> list[list[int]]:
    """For each validation image, in order, the training images whose correlation with it may be above ALIKE."""
    found: list[list[int]] = [[] for _ in validation.images]
    for shape in {image.shape for image in validation.images}:
        held, known = ([i for i, image in enumerate(d.images) if image.shape == shape] for d in (validation, training))
        if known:
            one = np.stack([_sketch(validation.images[i]) for i in held])
            other = np.stack([_sketch(training.images[i]) for i in known])
            for index, row in zip(held, one @ other.T > ALIKE - ROUNDING, strict=True):
                found[index] = [known[i] for i in np.flatnonzero(row)]
    return found


def _sketch(image: np.ndarray) -> np.ndarray:
    """A unit vector (0 for a constant image); the product of two is never below the correlation of their images.

    The means of blocks, each times the root of its number of pixels, are an orthogonal projection of the image. What
    two images have besides adds to their correlation at most the product of its lengths (Cauchy and Schwarz): so that
    length is the last number.
    """
    blocks = _centred(image)
    power = float(np.vdot(blocks, blocks))
    for axis, size in enumerate(image.shape[:-1]):
        count = min(size, round(BLOCKS ** (1 / (image.ndim - 1))))
        starts = np.arange(count) * size // count
        pixels = np.diff(starts, append=size).reshape(-1, *(1,) * (image.ndim - 1 - axis))
        blocks = np.add.reduceat(blocks, starts, axis) / np.sqrt(pixels)
    rest = max(0.0, power - float(np.vdot(blocks, blocks)))
    return (np.append(blocks, np.sqrt(rest)) / (np.sqrt(power) or 1.0)).astype(np.float32)


def _centred(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) - image.mean(dtype=np.float64)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    a, b = _centred(one), _centred(other)
    below = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / below if below else 0.0
