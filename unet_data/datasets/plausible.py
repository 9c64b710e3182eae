"""Signs of wrong units, numbers or pairs in a data set: outliers, misread or inverted masks, masks of other pictures.

Masks are compared with pictures by their edges: the gradient of a picture is larger at the edges of its mask than at
the same edges after they are moved, mirrored or turned. One picture is weak evidence; all pictures together are strong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..io.facts import void
from ..labels.regions import regions
from ..windows import bands, middle
from .dataset import Dataset
from .label_rule import IGNORED

if TYPE_CHECKING:
    from jaxtyping import Bool, Int, Shaped

SAMPLED_IMAGES = 24
"""Number of images, evenly spaced in the data set, that are compared with their masks."""

SIDE = 384
"""Pixels per axis of the middle part of an image in which edges are compared."""

DOMINANT = 0.85
"""With a larger share of class 1, masks with a background are probably inverted. (In ISBI 2012, cells have 0.78.)"""

OUTLYING = 20
"""Minimum distance of outliers from the other values, in units of the range from the 1st to the 99th percentile."""

MIN_IMAGES = 4
"""Minimum number of images with an edge for a statement about all images."""

SAMPLES = 2**18
"""Approximate number of values of an image among which outliers are searched."""

TESTED_IMAGES = 8
"""Number of images in which to test whether labels number objects."""

FRAGMENTS = 0.05
"""Maximum share of numbered objects that consist of several regions, by a corner or a mistake in drawing."""

MANY = 16
"""Numbers of classes are not more than this."""

_MOVES = ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5), (0.25, 0.75), (0.75, 0.25), (0.25, 0.25))
_TURNS = {
    "upside down": lambda a: a[::-1],
    "mirrored": lambda a: a[:, ::-1],
    "turned by 180°": lambda a: a[::-1, ::-1],
    "turned by 90°": lambda a: np.rot90(a),
    "turned by 270°": lambda a: np.rot90(a, 3),
    "with rows and columns exchanged": lambda a: a.T,
}


def implausible(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Findings, each as (image or data set, description)."""
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(SAMPLED_IMAGES, len(dataset))).round().astype(int))
    for index in chosen:
        if what := _outliers(dataset.images[index], dataset.nodata):
            yield dataset.names[index], what
            break
    if dataset.labels is None:
        return
    pairs = [_plane(dataset.images[i], dataset.labels[i], dataset.nodata) for i in chosen]
    inside, counted = (sum(int(found(label).sum()) for _, label in pairs) for found in (_is_one, _counts))
    share = inside / max(1, counted) if dataset.class_count == 2 and not dataset.overlapping else 0.0
    if share > DOMINANT:
        yield (
            dataset.source,
            f"class 1 ({dataset.class_names[1]}) has {share:.0%} of the pixels: are the masks inverted?",
        )
    if what := _edges_elsewhere([_similarities(image, label) for image, label in pairs]):
        yield dataset.source, what


def seem_numbered(dataset: Dataset) -> bool:
    """Whether labels that were read as classes look like numbers of objects.

    That is so if, in the first images, nearly every class but 0 is one region (neighbours share an edge or a face), and
    some image has three or more. Labels that stay in their files are not tested: a region must be read as a whole.
    """
    largest, several, count = 0, 0, 0
    looked_at = dataset.class_count > 3 and not dataset.stored and not dataset.overlapping
    for label in (dataset.labels or ())[:TESTED_IMAGES] if looked_at else ():
        found = [c for c in range(1, dataset.class_count) if (label == c).any()]
        several += sum(regions(label == c).max() > 1 for c in found)
        count, largest = count + len(found), max(largest, len(found))
    return largest >= 3 and several <= FRAGMENTS * count


def seem_classes(dataset: Dataset) -> bool:
    """Whether labels that were read as numbers of objects look like classes.

    That is so if, in the first images, there are at most MANY numbers, and most of them, in each image in which they
    occur, are several regions. Labels that stay in their files are not tested.
    """
    numbers, several, count = set(), 0, 0
    for objects in (dataset.instances or ())[:TESTED_IMAGES] if not dataset.stored else ():
        found = np.unique(objects[objects > 0])
        numbers |= set(found.tolist())
        if len(numbers) > MANY:
            return False
        count += len(found)
        several += sum(regions(objects == number).max() > 1 for number in found)
    return several > count / 2


def _is_one(label: np.ndarray) -> np.ndarray:
    return label == 1


def _counts(label: np.ndarray) -> np.ndarray:
    return label != IGNORED


def _plane(image: np.ndarray, label: np.ndarray, nodata: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The middle of an image (H, W, C) and of its label (H, W); for a volume, of its middle plane."""
    *depth, height, width = label.shape
    at = tuple(slice(n // 2, n // 2 + 1) for n in depth) + middle((height, width), SIDE)
    seen = np.asarray(label[at])
    shape = seen.shape[-2:]
    pixels = np.asarray(image[at]).reshape(*shape, -1)
    if nodata is not None and (missing := void(pixels, nodata)).any():
        pixels = np.where(missing, np.median(pixels[~missing]) if not missing.all() else 0, pixels)
    return pixels, seen.reshape(shape)


def _outliers(image: np.ndarray, nodata: float | None) -> str | None:
    """A finding if many pixels have one value far from all others: programs write such a value for missing data."""
    if image.dtype.kind != "f":
        return None
    step = max(1, image.size // SAMPLES)
    values = np.concatenate([np.asarray(image[band]).ravel()[::step] for band in bands(image.shape[:-1])])
    if nodata is not None:
        values = values[~void(values, nodata)]
    if values.size < 100:
        return None
    for extreme in (values.min(), values.max()):
        alike = values == extreme
        others = values[~alike]
        if alike.sum() < max(3, values.size / 10000) or not len(others):
            continue
        low, high = np.percentile(others, (1, 99))
        gap = min(abs(extreme - low), abs(extreme - high))
        if gap > OUTLYING * max(high - low, 1e-6 * max(abs(low), abs(high))):
            return (
                f"{alike.mean():.1%} of the pixels are {extreme:g}, the others {low:.3g} to {high:.3g}: if it "
                "means nodata, declare it in the files (GDAL_NODATA); otherwise it distorts the normalisation"
            )
    return None


def _similarities(image: Shaped[np.ndarray, "h w c"], label: Int[np.ndarray, "h w"]) -> dict[str, float] | None:
    """Correlations of the picture's gradient with the mask's edge: unchanged (""), moved (the mean of several moves:
    "moved"), and after each of `_TURNS`. None if the mask has no edge or the picture no gradient."""
    from scipy.ndimage import gaussian_gradient_magnitude

    edge = _edge(label)
    if min(edge.shape) < 16 or not 0 < edge.mean() < 0.5:
        return None
    channels = np.nan_to_num(image.astype(np.float64))
    gradient = sum(gaussian_gradient_magnitude(channels[..., c], 1.0) for c in range(channels.shape[-1]))
    gradient = np.minimum(gradient, np.percentile(gradient, 99))  # otherwise a few bright points would dominate
    if not gradient.std():
        return None
    gradient = (gradient - gradient.mean()) / gradient.std()

    def similarity(other: np.ndarray) -> float:
        return float(((other - edge.mean()) * gradient).mean() / edge.std())

    height, width = edge.shape
    moved = [similarity(np.roll(edge, (int(y * height), int(x * width)), (0, 1))) for y, x in _MOVES]
    turned = {name: turn(edge) for name, turn in _TURNS.items()}
    found = {name: similarity(other) for name, other in turned.items() if other.shape == edge.shape}
    return found | {"": similarity(edge), "moved": float(np.mean(moved))}


def _edge(label: Int[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels next to a pixel of another class, neither of them ignored; widened for masks that are a pixel off."""
    from scipy.ndimage import binary_dilation

    edge = np.zeros(label.shape, bool)
    for first, second in (((slice(-1),), (slice(1, None),)), ((slice(None), slice(-1)), (slice(None), slice(1, None)))):
        here, there = label[first], label[second]
        edge[first] |= (here != there) & (here != IGNORED) & (there != IGNORED)
    return binary_dilation(edge)


def _edges_elsewhere(found: list[dict[str, float] | None]) -> str | None:
    """A finding if the similarities of all images suggest that the masks are turned or of other images."""
    known = [each for each in found if each is not None]
    if len(known) < MIN_IMAGES:
        return None
    gain = np.array([each[""] - each["moved"] for each in known])
    for name in _TURNS:
        differences = np.array([each[name] - each[""] for each in known if name in each])
        if len(differences) < max(MIN_IMAGES, len(known) / 2):
            continue
        error = differences.std(ddof=1) / np.sqrt(len(differences))
        if differences.mean() > max(0.05, 4 * error) and differences.mean() > 2 * abs(gain.mean()):
            return f"the masks fit the images better {name}: were they written with another order of rows and columns?"
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    if gain.mean() < max(0.01, error):
        return (
            f"the edges of the masks match edges in the images no better than shifted masks do "
            f"(correlations differ by {gain.mean():.2f}): do the masks belong to these images?"
        )
    return None
