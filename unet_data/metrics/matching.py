"""Matches predicted objects with true ones, and scores the matches.

A predicted and a true object match if their IoU (pixels in common / pixels of either) reaches a threshold. Each object
has at most one match. With T matches, F unmatched predictions and M unmatched true objects:

    AP = T / (T + F + M)    precision = T / (T + F)    recall = T / (T + M)    F1 = 2T / (2T + F + M)
    PQ = sum of the matches' IoU / (T + F/2 + M/2)                     (Kirillov et al. 2019, Panoptic Segmentation)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, Integer

IOUS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class Overlaps:
    """The pairs of objects in two label images that share pixels.

    Attributes:
        truth, guess: indices (from 0) of the true and the predicted object of each pair.
        common: number of pixels that the pair shares.
        truth_sizes, guess_sizes: number of pixels of each object, in ascending order of the object numbers.
        truth_numbers, guess_numbers: the object numbers.
    """

    truth: Int64[np.ndarray, " pairs"]
    guess: Int64[np.ndarray, " pairs"]
    common: Int64[np.ndarray, " pairs"]
    truth_sizes: Int64[np.ndarray, " truths"]
    guess_sizes: Int64[np.ndarray, " guesses"]
    truth_numbers: Int64[np.ndarray, " truths"]
    guess_numbers: Int64[np.ndarray, " guesses"]

    @property
    def iou(self) -> Float[np.ndarray, " pairs"]:
        """IoU of each pair, in 0..1."""
        either = self.truth_sizes[self.truth] + self.guess_sizes[self.guess] - self.common
        return self.common / either


def overlaps(truth: Integer[np.ndarray, "*spatial"], guess: Integer[np.ndarray, "*spatial"]) -> Overlaps:
    """The objects of two label images and the number of pixels that they share; 0 is no object.

    Raises:
        InputError: the shapes differ.
    """
    if truth.shape != guess.shape:
        raise InputError(f"true labels have shape {truth.shape}, predicted ones {guess.shape}; they must be equal")
    (true_numbers, true), (guess_numbers, guessed) = (
        np.unique(labels.ravel(), return_inverse=True) for labels in (truth, guess)
    )
    table, common = np.unique(true * np.int64(len(guess_numbers)) + guessed, return_counts=True)
    rows, columns = np.divmod(table, len(guess_numbers))
    sizes = [np.bincount(inverse, minlength=len(n)) for inverse, n in ((true, true_numbers), (guessed, guess_numbers))]
    drop = [int(len(n) > 0 and (n == 0).any()) for n in (true_numbers, guess_numbers)]
    if any((n < 0).any() for n in (true_numbers, guess_numbers)):
        raise InputError("labels of objects must not be negative")
    inside = (true_numbers[rows] != 0) & (guess_numbers[columns] != 0)
    return Overlaps(
        rows[inside] - drop[0],
        columns[inside] - drop[1],
        common[inside],
        sizes[0][drop[0] :],
        sizes[1][drop[1] :],
        true_numbers[drop[0] :].astype(np.int64),
        guess_numbers[drop[1] :].astype(np.int64),
    )


def matches(found: Overlaps, threshold: float) -> Int64[np.ndarray, " matches"]:
    """The indices in `found` of the pairs that match at an IoU threshold.

    There are as many matches as possible, with the largest possible sum of IoU. Above an IoU of 0.5, each object has at
    most one candidate.
    """
    iou = found.iou
    close = np.flatnonzero((iou >= threshold) & (iou > 0))
    truth, guess = found.truth[close], found.guess[close]
    alone = (np.bincount(truth)[truth] == 1) & (np.bincount(guess)[guess] == 1) if len(close) else np.zeros(0, bool)
    chosen = [close[alone]]
    if not alone.all():
        from scipy.optimize import linear_sum_assignment

        rest = close[~alone]
        rows, row = np.unique(found.truth[rest], return_inverse=True)
        columns, column = np.unique(found.guess[rest], return_inverse=True)
        gain, pair = np.zeros((len(rows), len(columns))), np.full((len(rows), len(columns)), -1)
        gain[row, column] = 1 + iou[rest] / (2 * min(len(rows), len(columns)))
        pair[row, column] = rest
        taken = pair[linear_sum_assignment(gain, maximize=True)]
        chosen.append(taken[taken >= 0])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True)
class ObjectCounts:
    """Numbers of matches at one IoU threshold, for one or more images. Counts of several images can be added.

    Attributes:
        matched, false, missed: numbers of matches, of unmatched predictions and of unmatched true objects.
        iou: sum of the IoU over the matches.

    Example:
        >>> from unet_data import ObjectCounts
        >>> (ObjectCounts(3, 1, 0, 2.4) + ObjectCounts(1, 0, 3, 0.6)).ap
        0.5
    """

    matched: int
    false: int
    missed: int
    iou: float

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(
            self.matched + other.matched, self.false + other.false, self.missed + other.missed, self.iou + other.iou
        )

    @property
    def ap(self) -> float:
        """Average precision. NaN, like the other scores, if its denominator is 0."""
        return _share(self.matched, self.matched + self.false + self.missed)

    @property
    def precision(self) -> float:
        return _share(self.matched, self.matched + self.false)

    @property
    def recall(self) -> float:
        return _share(self.matched, self.matched + self.missed)

    @property
    def f1(self) -> float:
        return _share(2 * self.matched, 2 * self.matched + self.false + self.missed)

    @property
    def pq(self) -> float:
        return _share(self.iou, self.matched + self.false / 2 + self.missed / 2)


def match_objects(
    truth: Integer[np.ndarray, "*spatial"], guess: Integer[np.ndarray, "*spatial"], threshold: float = 0.5
) -> ObjectCounts:
    """Matches predicted objects with true ones.

    Args:
        truth, guess: labels of one image, 0 for background; numbers need not be consecutive.
        threshold: minimum IoU of a match.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> from unet_data import match_objects
        >>> truth, guess = np.array([[1, 1, 0, 2, 2, 2]]), np.array([[7, 7, 0, 0, 3, 3]])
        >>> match_objects(truth, guess).precision, round(match_objects(truth, guess).pq, 3)
        (1.0, 0.833)
    """
    return counted(overlaps(truth, guess), threshold)


def counted(found: Overlaps, threshold: float) -> ObjectCounts:
    """The numbers of matches at a threshold."""
    pairs = matches(found, threshold)
    n = len(pairs)
    return ObjectCounts(n, len(found.guess_sizes) - n, len(found.truth_sizes) - n, float(found.iou[pairs].sum()))


def instance_scores(
    truths: Iterable[Integer[np.ndarray, "*spatial"]],
    guesses: Iterable[Integer[np.ndarray, "*spatial"]],
    thresholds: Sequence[float] = IOUS,
) -> dict[str, float]:
    """Scores of predicted objects.

    Args:
        truths, guesses: labels per image; 0 for background.
        thresholds: IoU thresholds, from 0.5.

    Returns:
        objects_true, objects_predicted: numbers of objects.
        ap@t, precision@t, recall@t, f1@t, pq@t: at each threshold, from the matches of all images together.
        ap_mean: mean of the AP over the thresholds.
        dsb2018: mean over the images of the mean AP over the thresholds, the score of the 2018 Data Science Bowl;
            images without any true or predicted object do not count.
        aji: see `aggregated_jaccard`, from the pixels of all images together.
        split: number of true objects that contain most of two or more predicted objects.
        merged: number of predicted objects that contain most of two or more true objects.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> from unet_data import instance_scores
        >>> truth = np.array([[1, 1, 2, 2]])
        >>> scores = instance_scores([truth], [np.ones_like(truth)])
        >>> scores["ap@0.50"], scores["merged"], scores["aji"]
        (0.5, 1.0, 0.5)
    """
    totals = [ObjectCounts(0, 0, 0, 0.0)] * len(thresholds)
    ranked, splits, merges, jaccard = [], 0, 0, np.zeros(2, np.int64)
    for truth, guess in zip(truths, guesses, strict=True):
        found = overlaps(truth, guess)
        counts = [counted(found, threshold) for threshold in thresholds]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        if len(found.truth_sizes) + len(found.guess_sizes):
            ranked.append(float(np.mean([c.ap for c in counts])))
        jaccard += aggregated_jaccard(found)
        splits, merges = splits + split_objects(found), merges + merged_objects(found)
    first = totals[0]
    scores: dict[str, float] = {
        "objects_true": float(first.matched + first.missed),
        "objects_predicted": float(first.matched + first.false),
    }
    for name in ("ap", "precision", "recall", "f1", "pq"):
        scores |= {f"{name}@{t:.2f}": getattr(c, name) for t, c in zip(thresholds, totals, strict=True)}
    return scores | {
        "ap_mean": float(np.mean([c.ap for c in totals])),
        "dsb2018": float(np.mean(ranked)) if ranked else math.nan,
        "aji": _share(int(jaccard[0]), int(jaccard[1])),
        "split": float(splits),
        "merged": float(merges),
    }


def aggregated_jaccard(found: Overlaps) -> tuple[int, int]:
    """Numerator and denominator of the Aggregated Jaccard Index (Kumar et al. 2017).

    Each true object is paired with the predicted one of the largest IoU (the first among equals); a predicted object
    may have several pairs. The numerator is the sum of the pairs' common pixels. The denominator is the sum of the
    pixels in either object of each pair, and of the pixels of all objects without a pair.
    """
    best = np.lexsort((found.guess, -found.iou, found.truth))
    truths, first = np.unique(found.truth[best], return_index=True)
    pairs = best[first]
    common = int(found.common[pairs].sum())
    either = int(found.truth_sizes[truths].sum() + found.guess_sizes[found.guess[pairs]].sum()) - common
    alone = np.setdiff1d(np.arange(len(found.truth_sizes)), truths)
    unused = np.setdiff1d(np.arange(len(found.guess_sizes)), found.guess[pairs])
    return common, either + int(found.truth_sizes[alone].sum() + found.guess_sizes[unused].sum())


def split_objects(found: Overlaps) -> int:
    """Number of true objects that contain more than half of each of two or more predicted ones."""
    inside = found.truth[2 * found.common > found.guess_sizes[found.guess]]
    return int((np.bincount(inside) > 1).sum())


def merged_objects(found: Overlaps) -> int:
    """Number of predicted objects that contain more than half of each of two or more true ones."""
    inside = found.guess[2 * found.common > found.truth_sizes[found.truth]]
    return int((np.bincount(inside) > 1).sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
