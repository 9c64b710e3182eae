"""Checks a labelled data set for common mistakes before training.

`open_dataset` refuses what cannot be read at all (unpaired files, unequal sizes, masks in two conventions). This module
finds data that can be read but train badly. Images that stay in their files (`open_stored`) are read band by band.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unet_spec.errors import InputError
from unet_spec.tiling.tiles import per_axis

from ..io.formats.encode_nifti import elsewhere
from ..windows import bands
from .dataset import Dataset
from .label_rule import IGNORED
from .plausible import implausible, seem_classes, seem_numbered
from .splitting import split

RARE = 0.005
"""A class with a smaller share of the pixels than this rarely occurs in a tile."""

LISTED = 5
"""Maximum number of rare classes that are listed."""

ALIKE = 0.98
"""Two images whose correlation is above this are nearly the same picture."""

BLOCKS = 64 * 64
"""Number of blocks of an image that are compared before the pixels are."""

ROUNDING = 1e-3
"""An upper bound of the float32 error in a comparison of blocks."""


@dataclass(frozen=True)
class Problem:
    """A finding of `check_dataset`.

    Attributes:
        level: "error" if training would be useless, "warning" if the data may be as intended.
        where: the image or the data set that it concerns.
        what: the problem, with a remedy if there is one.

    Example:
        >>> from unet_data import Dataset, check_dataset
        >>> black = np.zeros((8, 8, 1), np.uint8)
        >>> problems = check_dataset(Dataset((black,), None, ("black",), (), "memory"))
        >>> [problem.level for problem in problems if problem.where == "black"]
        ['error']
    """

    level: Literal["error", "warning"]
    where: str
    what: str


def check_dataset(
    dataset: Dataset,
    tile: int | tuple[int, ...] | None = None,
    validate: str | float = "auto",
    group: str | None = None,
) -> list[Problem]:
    """Finds common mistakes in a labelled data set.

    Args:
        dataset: in memory, or in files.
        tile: size of the training tile in pixels, one number for all axes or one per axis. None or 0: unknown.
        validate, group: choice of the validation images, as in `split`.

    Returns:
        All findings, errors first.

    Example:
        >>> from unet_data import check_dataset, membranes
        >>> check_dataset(membranes(4, 64, seed=0))
        []
    """
    found, parts = [], [dataset]
    try:
        parts = list(split(dataset, validate, group))
    except InputError as e:
        found.append(Problem("error", dataset.source, str(e).removeprefix(f"{dataset.source}: ")))
    found += [*_images(dataset, tile), *_labels(dataset, parts), *_leaks(dataset, parts)]
    found += [Problem("warning", where, what) for where, what in implausible(dataset)]
    return sorted(found, key=lambda problem: problem.level)


def counted_pixels(dataset: Dataset) -> list[int]:
    """Number of pixels in each label that are not ignored."""
    labels = dataset.labels or ()
    return [sum(int(np.count_nonzero(label[band] != IGNORED)) for band in bands(label.shape)) for label in labels]


def class_shares(dataset: Dataset) -> tuple[dict[str, float], float]:
    """The share of each class, by name, in the pixels that are not ignored; and the share of ignored pixels."""
    if dataset.labels is None:
        return {}, 0.0
    counts, counted = dataset.label_counts().sum(0), sum(counted_pixels(dataset))
    shares = {name: float(count / counted) for name, count in zip(dataset.class_names, counts, strict=True)}
    return shares, float(1 - counted / sum(label.size for label in dataset.labels))


def _images(dataset: Dataset, tile: int | tuple[int, ...] | None) -> Iterator[Problem]:
    sizes = {image.shape[:-1] for image in dataset.images}
    if len(sizes) > 1:
        some = ", ".join("x".join(map(str, s)) for s in sorted(sizes)[:4])
        yield Problem("warning", dataset.source, f"images of {len(sizes)} sizes ({some}, …)")
    smallest = per_axis(tile or 0, len(dataset.images[0].shape) - 1, "--tile")
    equal = dataset.channels == 3
    for name, image in zip(dataset.names, dataset.images, strict=True):
        lows, highs = [], []
        for pixels in (image[band] for band in bands(image.shape[:-1])):
            lows.append(pixels.min())
            highs.append(pixels.max())
            equal = equal and bool((pixels == pixels[..., :1]).all())
        if min(lows) == max(highs):
            yield Problem("error", name, f"every pixel is {lows[0]}: the image is empty")
        elif image.dtype == np.uint8 and max(highs) <= 8:
            yield Problem("warning", name, f"8-bit, but no value above {max(highs)}: is it a mask?")
        if any(n < least for n, least in zip(image.shape[:-1], smallest, strict=True)):
            of = "x".join(map(str, smallest if isinstance(tile, tuple) else smallest[:1]))
            yield Problem("warning", name, f"smaller than the {of} pixels of a tile: most of each tile is mirrored")
    if equal:
        yield Problem(
            "warning",
            dataset.source,
            "three equal channels: grey images stored as colour; --channels grey reads one channel",
        )


def _labels(dataset: Dataset, parts: Sequence[Dataset]) -> Iterator[Problem]:
    """Problems of the labels. `parts` are training and validation, or the whole data set if it cannot be split."""
    if dataset.labels is None:
        yield Problem("error", dataset.source, "the data set has no labels")
        return
    rows = [part.label_counts() for part in parts]
    counts = np.concatenate(rows)
    counted = [n for part in parts for n in counted_pixels(part)]
    if dataset.ignore is not None and sum(counted) == sum(label.size for label in dataset.labels):
        yield Problem("warning", dataset.source, f"no pixel has the value {dataset.ignore} that is to be ignored")
    shares = counts.sum(0) / max(sum(counted), 1)
    rare = np.flatnonzero((shares > 0) & (shares < RARE))
    for index, (name, share) in enumerate(zip(dataset.class_names, shares, strict=True)):
        if share == 0:
            yield Problem("error", dataset.source, f"class {index} ({name}) has no pixel in any label")
        elif index in rare[:LISTED]:
            more = (
                f"; {len(rare) - LISTED} more classes have less than {RARE:.1%}"
                if len(rare) > LISTED and index == rare[0]
                else ""
            )
            what = f"class {index} ({name}) has {share:.2%} of the pixels: use --balance or --oversample{more}"
            yield Problem("warning", dataset.source, what)
    if seem_numbered(dataset):
        what = "each class is one connected region: if they number objects, pass --labels instance"
        yield Problem("warning", dataset.source, what)
    if seem_classes(dataset):
        what = "the labels hold few numbers, most in several regions: if they are classes, pass --labels semantic"
        yield Problem("warning", dataset.source, what)
    for name, facts, own in zip(dataset.names, dataset.facts, dataset.label_facts, strict=False):
        if what := elsewhere(facts, own):
            yield Problem(
                "error", name, f"its label has {what}" if what.startswith("orien") else f"its label is {what}"
            )
    if len(parts) == 2:
        yield from _absent(dataset, *(part.sum(0) for part in rows))
    for name, row, pixels in zip((name for part in parts for name in part.names), counts, counted, strict=True):
        if not pixels:
            yield Problem("warning", name, "every pixel of its label is ignored")
        if (row > 0).sum() == 1 and len(dataset) > 1 and not dataset.overlapping:
            yield Problem("warning", name, f"only class {int(row.argmax())} occurs in its label")
    for name, image, label in zip(dataset.names, dataset.images, dataset.labels, strict=True):
        if image.shape[-1] == 1 and _is_mask(image, label):
            yield Problem("error", name, "the image and its label are the same picture")


def absence(dataset: Dataset, index: int, part: Literal["training", "validation"]) -> str:
    """The message about a class that has no pixel in a part of the data."""
    then = "the network cannot learn it" if part == "training" else "it has no score and does not choose best/"
    return f"class {index} ({dataset.class_names[index]}) has no pixel in the {part} part: {then}"


def _absent(dataset: Dataset, training: np.ndarray, validation: np.ndarray) -> Iterator[Problem]:
    """Problems of classes that occur in only one of the two parts, and of a part in which every pixel is ignored."""
    whole = training + validation
    parts: tuple[tuple[Literal["training", "validation"], np.ndarray], ...]
    parts = ("training", training), ("validation", validation)
    for part, counts in parts:
        if whole.any() and not counts.any() and not dataset.overlapping:
            yield Problem("error", dataset.source, f"every pixel of the {part} part is ignored")
            continue
        level = "error" if part == "training" else "warning"
        for index in np.flatnonzero((whole > 0) & (counts == 0)):
            yield Problem(level, dataset.source, absence(dataset, int(index), part))


def _is_mask(image: np.ndarray, label: np.ndarray) -> bool:
    values = np.zeros(0, image.dtype)
    for band in bands(label.shape):
        values = np.union1d(values, image[band][..., 0][label[band] != IGNORED])
        if len(values) > 2:
            return False
    return len(values) == 2 and all(
        ((image[band][..., 0] > values[0]) == (label[band] > 0))[label[band] != IGNORED].all()
        for band in bands(label.shape)
    )


def _leaks(dataset: Dataset, parts: Sequence[Dataset]) -> Iterator[Problem]:
    """Images that occur twice, and validation images that are nearly equal to a training image."""
    seen: dict[bytes, str] = {}
    for name, image in zip(dataset.names, dataset.images, strict=True):
        key = _digest(image)
        if key in seen:
            yield Problem(
                "error",
                name,
                f"the same picture as {seen[key]}: they must not be divided between training and validation",
            )
        seen.setdefault(key, name)
    if len(dataset) < 2:
        return
    training, validation = parts
    for name, image, likely in zip(validation.names, validation.images, _candidates(training, validation), strict=True):
        for index in likely:
            known = training.images[index]
            if _correlation(known, image) > ALIKE and _digest(known) != _digest(image):
                what = f"nearly the same picture as the training image {training.names[index]}: scores will be too good"
                yield Problem("warning", name, what)
                break


def _digest(image: np.ndarray) -> bytes:
    digest = hashlib.blake2b(repr(image.shape).encode())
    for band in bands(image.shape[:-1]):
        digest.update(image[band].tobytes())
    return digest.digest()


def _candidates(training: Dataset, validation: Dataset) -> list[list[int]]:
    """For each validation image, in order, the training images whose correlation with it may be above ALIKE."""
    found: list[list[int]] = [[] for _ in validation.images]
    for shape in {image.shape for image in validation.images}:
        validating, known = (
            [i for i, image in enumerate(d.images) if image.shape == shape] for d in (validation, training)
        )
        if known:
            one = np.stack([_sketch(validation.images[i]) for i in validating])
            other = np.stack([_sketch(training.images[i]) for i in known])
            for index, row in zip(validating, one @ other.T > ALIKE - ROUNDING, strict=True):
                found[index] = [known[i] for i in np.flatnonzero(row)]
    return found


def _sketch(image: np.ndarray) -> np.ndarray:
    """A unit vector (0 for a constant image). The product of two is never below the correlation of their images.

    The means of blocks, each times the square root of its number of pixels, are an orthogonal projection of the image.
    The remainders of two images add to their correlation at most the product of their lengths (Cauchy-Schwarz), so the
    length of the remainder is the last number of the vector.
    """
    power, parts = 0.0, []
    for part in _centred(image):
        power += float(np.vdot(part, part))
        for axis in range(1, image.ndim - 1):
            part = _blocks(part, axis)
        parts.append(part)
    blocks = _blocks(np.concatenate(parts), 0)
    rest = max(0.0, power - float(np.vdot(blocks, blocks)))
    return (np.append(blocks, np.sqrt(rest)) / (np.sqrt(power) or 1.0)).astype(np.float32)


def _blocks(image: np.ndarray, axis: int) -> np.ndarray:
    """The means of blocks along one axis, each times the square root of its length."""
    size = image.shape[axis]
    count = min(size, round(BLOCKS ** (1 / (image.ndim - 1))))
    starts = np.arange(count) * size // count
    pixels = np.diff(starts, append=size).reshape(-1, *(1,) * (image.ndim - 1 - axis))
    return np.add.reduceat(image, starts, axis) / np.sqrt(pixels)


def _centred(image: np.ndarray) -> Iterator[np.ndarray]:
    """The bands of an image, minus the mean of the image."""
    windows = list(bands(image.shape[:-1]))
    mean = sum(image[band].sum(dtype=np.float64) for band in windows) / image.size
    return (image[band].astype(np.float32) - mean for band in windows)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    pairs = zip(_centred(one), _centred(other), strict=True)
    both, first, second = np.sum([((a * b).sum(), (a * a).sum(), (b * b).sum()) for a, b in pairs], 0)
    below = float(np.sqrt(first * second))
    return float(both) / below if below else 0.0
