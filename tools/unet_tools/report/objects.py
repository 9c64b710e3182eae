"""Draws outlines of objects on their image as SVG: found, missed, false, split and merged objects.

Each kind has a colour, a dash pattern and, except for found objects, a letter, so that colour is not needed to
distinguish them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_data import Dataset, Outcomes, match_objects, object_outcomes
from unet_data.metrics.outcomes import OUTCOMES
from unet_data.objects.outlines import rings
from unet_data.windows import middle

from .pixels import data_uri, to_8_bit

_LINE = 'fill="none" vector-effect="non-scaling-stroke" stroke-linejoin="round"'
"""Attributes of a path. They are not in the style sheet, since some browsers do not apply style sheets to copies by
<use>."""


@dataclass(frozen=True)
class Kind:
    """How objects of one outcome are drawn.

    Attributes:
        name: one of OUTCOMES.
        meaning: text in the legend.
        color: colour on the image, with a dark rim.
        dash: lengths of strokes and gaps; "" is a solid line.
        letter: letter in the object; "": none.
        thick, thin: names in `Outcomes` of the objects with a thick and with a thin outline, each with a flag for true
            objects.
    """

    name: str
    meaning: str
    color: str
    dash: str
    letter: str
    thick: tuple[str, bool]
    thin: tuple[str, bool] | None = None


KINDS = (
    Kind("found", "predicted object with a matching true object", "#2fd3a0", "", "", ("found", False)),
    Kind("missed", "true object without a match", "#6cc5ff", "7 4", "M", ("missed", True)),
    Kind("false", "predicted object without a match", "#ff8b45", "2 3", "F", ("false", False)),
    Kind(
        "split",
        "true object (thick line) and its pieces (thin lines)",
        "#f6e93c",
        "9 3 2 3",
        "S",
        ("split", True),
        ("pieces", False),
    ),
    Kind(
        "merged",
        "predicted object (thick line) and the true objects in it (thin lines)",
        "#f08fd8",
        "14 4",
        "U",
        ("merged", False),
        ("joined", True),
    ),
)


@dataclass(frozen=True, eq=False)
class ObjectExample:
    """An image with its objects.

    Attributes:
        rank: "worst", "median" or "best".
        name: name of the image.
        image: the shown image, (H, W) or (H, W, 3) uint8.
        truth, guess: true and predicted labels of the shown pixels, (H, W).
        outcomes: outcomes of all objects of the image or volume.
        score: PQ of the image at an IoU of 0.5.
        part: the shown part; "": all.
    """

    rank: str
    name: str
    image: np.ndarray
    truth: np.ndarray
    guess: np.ndarray
    outcomes: Outcomes
    score: float
    part: str = ""


@dataclass(frozen=True, eq=False)
class ObjectPictures:
    """The objects of a data set.

    Attributes:
        images: number of images.
        counts: number of objects per outcome, over all images.
        scores: scores of all images.
        examples: the images to show.
    """

    images: int
    counts: dict[str, int]
    scores: dict[str, float]
    examples: Sequence[ObjectExample]

    def to_dict(self) -> dict[str, Any]:
        """The content for JSON, without pixels."""
        images = [{"rank": e.rank, "name": e.name, "pq": e.score, "counts": e.outcomes.counts} for e in self.examples]
        return {"total_images": self.images, "counts": self.counts, "scores": self.scores, "images": images}


def object_pictures(
    dataset: Dataset, guesses: Sequence[np.ndarray], scores: dict[str, float], threshold: float = 0.5
) -> ObjectPictures:
    """The worst, the median and the best image by PQ, and the counts over all images.

    Args:
        dataset: labelled images with instances.
        guesses: predicted labels of each image.
        scores: scores of all images, from `instance_scores`.
        threshold: minimum IoU of a match.
    """
    assert dataset.instances is not None
    found, ranked, counts = [], [], Counter[str](dict.fromkeys(OUTCOMES, 0))
    for index, (own, guess) in enumerate(zip(dataset.instances, guesses, strict=True)):
        truth = np.asarray(own)
        found.append(object_outcomes(truth, guess, threshold))
        counts.update(found[-1].counts)
        if not math.isnan(score := match_objects(truth, guess, threshold).pq):
            ranked.append((score, index))
    ranked.sort()
    places = {0: "worst", len(ranked) - 1: "best"} if len(ranked) > 1 else {0: "only"}
    if len(ranked) > 2:
        places[(len(ranked) - 1) // 2] = "median"
    examples = []
    for place in sorted(places) if ranked else ():
        score, index = ranked[place]
        examples.append(_example(places[place], dataset, index, guesses[index], found[index], score))
    shown = {k: v for k, v in scores.items() if k in ("ap@0.50", "pq@0.50", "ap_mean", "aji")}
    return ObjectPictures(len(dataset), dict(counts), shown, examples)


def _example(
    rank: str, dataset: Dataset, index: int, guess: np.ndarray, outcomes: Outcomes, score: float
) -> ObjectExample:
    assert dataset.instances is not None
    image, truth = dataset.images[index], dataset.instances[index]
    parts: list[str] = []
    window = middle(truth.shape)
    if image.ndim == 4:
        plane = len(image) // 2
        window = (slice(plane, plane + 1), *window[1:])
        parts.append(f"plane {plane}")
    if any(s.stop - s.start < n for s, n in list(zip(window, truth.shape, strict=True))[-2:]):
        parts.append("the middle " + " × ".join(str(s.stop - s.start) for s in window[-2:]) + " pixels")
    shown, true, guessed = (np.asarray(each[window]) for each in (image, truth, guess))
    if image.ndim == 4:
        shown, true, guessed = shown[0], true[0], guessed[0]
    return ObjectExample(rank, dataset.names[index], to_8_bit(shown), true, guessed, outcomes, score, ", ".join(parts))


def drawing_of(example: ObjectExample, name: str) -> str:
    """The image with outlines as an <svg> element whose ids start with `name`."""
    height, width = example.image.shape[:2]
    lines, letters = [], []
    size = round(max(height, width) / 32, 1)
    for kind in KINDS:
        for group, weight in ((kind.thick, "thick"), (kind.thin, "thin")):
            if group is None:
                continue
            labels = example.truth if group[1] else example.guess
            path, places = _outlined(labels, getattr(example.outcomes, group[0]))
            if not path:
                continue
            own = f"{name}-{kind.name}-{weight}"
            lines.append(f'<g class="rim {weight}"><path id="{own}" {_LINE} d="{path}" /></g>')
            lines.append(f'<use href="#{own}" class="line {weight} {kind.name}" />')
            if kind.letter and weight == "thick":
                letters += [
                    f'<text x="{x}" y="{y}" class="{kind.name}" font-size="{size}">{kind.letter}</text>'
                    for x, y in places
                ]
    counts = ", ".join(f"{n} {kind}" for kind, n in example.outcomes.counts.items())
    size_of = f'width="{width}" height="{height}"'
    return (
        f'<svg viewBox="0 0 {width} {height}" style="--ratio: {width / height:.4f}" role="img" '
        f'aria-label="Objects on the image: {counts}">'
        f'<image href="{data_uri(example.image)}" {size_of} preserveAspectRatio="none" />'
        f"{''.join(lines)}{''.join(letters)}</svg>"
    )


def _outlined(labels: np.ndarray, numbers: Iterable[int]) -> tuple[str, list[tuple[float, float]]]:
    """Outlines of objects along pixel edges, as an SVG path, and the centre of one pixel in each object."""
    from scipy import ndimage

    present, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + 1
    boxes = ndimage.find_objects(compact)
    parts, places = [], []
    for number in np.intersect1d(present, np.fromiter(numbers, np.int64)).tolist():
        position = int(np.searchsorted(present, number))
        box = boxes[position]
        mask = compact[box] == position + 1
        top, left = box[0].start, box[1].start
        for ring in rings(mask):
            (x, y), *corners = ring.tolist()
            parts.append(f"M{x + left} {y + top}")
            for to_x, to_y in corners[:-1]:
                parts.append(f"h{to_x - x}" if to_y == y else f"v{to_y - y}")
                x, y = to_x, to_y
            parts.append("z")
        pixels = np.argwhere(mask)
        nearest = pixels[((pixels - pixels.mean(axis=0)) ** 2).sum(axis=1).argmin()]
        places.append((float(nearest[1] + left) + 0.5, float(nearest[0] + top) + 0.5))
    return "".join(parts), places
