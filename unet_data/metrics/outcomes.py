"""Outcome of each object: found, missed, false, split or merged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .matching import matches, overlaps

if TYPE_CHECKING:
    from jaxtyping import Int64, Integer

OUTCOMES = ("found", "missed", "false", "split", "merged")


@dataclass(frozen=True)
class Outcomes:
    """The objects of one image by outcome, as sorted arrays of object numbers.

    A true object is split if it contains most of two or more predicted objects; a predicted object is merged if it
    contains most of two or more true objects. All others are found, missed or false.

    Attributes:
        found: predicted objects that match a true object and are not pieces of a split one.
        missed: true objects without a match that are neither split nor part of a merged object.
        false: predicted objects without a match that are neither merged nor pieces of a split object.
        split: true objects that are split; pieces: the predicted objects in them.
        merged: predicted objects that are merged; joined: the true objects in them.

    Example:
        >>> from unet_data import object_outcomes
        >>> outcomes = object_outcomes(np.array([[1, 1, 2, 2]]), np.array([[7, 7, 7, 7]]))
        >>> outcomes.merged, outcomes.joined
        (array([7]), array([1, 2]))
    """

    found: Int64[np.ndarray, " n"]
    missed: Int64[np.ndarray, " n"]
    false: Int64[np.ndarray, " n"]
    split: Int64[np.ndarray, " n"]
    pieces: Int64[np.ndarray, " n"]
    merged: Int64[np.ndarray, " n"]
    joined: Int64[np.ndarray, " n"]

    @property
    def counts(self) -> dict[str, int]:
        """Number of objects for each of OUTCOMES."""
        return {name: len(getattr(self, name)) for name in OUTCOMES}


def object_outcomes(
    truth: Integer[np.ndarray, "*spatial"], guess: Integer[np.ndarray, "*spatial"], threshold: float = 0.5
) -> Outcomes:
    """Classifies the objects of an image by outcome. `split` and `merged` are defined as in `instance_scores`.

    Args:
        truth, guess: labels of one image, 0 for background.
        threshold: minimum IoU of a match.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> from unet_data import object_outcomes
        >>> truth = np.array([[1, 1, 2, 2, 0, 3, 3, 0, 4]])
        >>> guess = np.array([[7, 7, 7, 7, 0, 8, 8, 9, 0]])
        >>> object_outcomes(truth, guess).counts
        {'found': 1, 'missed': 1, 'false': 1, 'split': 0, 'merged': 1}
    """
    overlap = overlaps(truth, guess)
    pairs = matches(overlap, threshold)
    kinds = [np.zeros(len(sizes), bool) for sizes in (overlap.truth_sizes, overlap.guess_sizes)]
    true_matched, guess_matched = kinds
    true_matched[overlap.truth[pairs]], guess_matched[overlap.guess[pairs]] = True, True
    split, pieces = _several(overlap.truth, overlap.guess, overlap.common, overlap.truth_sizes, overlap.guess_sizes)
    merged, joined = _several(overlap.guess, overlap.truth, overlap.common, overlap.guess_sizes, overlap.truth_sizes)
    true, guessed = overlap.truth_numbers, overlap.guess_numbers
    return Outcomes(
        found=guessed[guess_matched & ~pieces & ~merged],
        missed=true[~true_matched & ~split & ~joined],
        false=guessed[~guess_matched & ~pieces & ~merged],
        split=true[split],
        pieces=guessed[pieces & ~merged],
        merged=guessed[merged],
        joined=true[joined & ~split],
    )


def _several(
    outer: np.ndarray, inner: np.ndarray, common: np.ndarray, holders: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two masks: objects that contain more than half of two or more others, and the others in them."""
    majority = 2 * common > sizes[inner]
    many = np.bincount(outer[majority], minlength=len(holders)) > 1
    inside = np.zeros(len(sizes), bool)
    inside[inner[majority & many[outer]]] = True
    return many, inside
