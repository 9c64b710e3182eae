"""Found, missed, false, split, merged: by hand, and against the counts of the scores."""

import numpy as np
import pytest

from unet_data import instance_scores, object_outcomes
from unet_spec import InputError


def row(text):
    """Labels of one row: "1122..3" with "." for no object."""
    return np.array([[0 if c == "." else int(c) for c in text]])


def names(truth, guess, threshold=0.5):
    found = object_outcomes(row(truth), row(guess), threshold)
    shown = ("found", "missed", "false", "split", "pieces", "merged", "joined")
    return {name: getattr(found, name).tolist() for name in shown if len(getattr(found, name))}


@pytest.mark.parametrize(
    ("truth", "guess", "expected"),
    [
        ("111.222", "555.666", {"found": [5, 6]}),
        ("111.222", "555....", {"found": [5], "missed": [2]}),
        ("111....", "555.666", {"found": [5], "false": [6]}),
        ("1111...", "...5555", {"missed": [1], "false": [5]}),  # they share too little
        ("111122", "555666", {"found": [5, 6]}),  # 3/4 and 2/3
        ("1111222", "5555555", {"merged": [5], "joined": [1, 2]}),
        ("1111111", "5555666", {"split": [1], "pieces": [5, 6]}),
        ("11111111.", "555555.66", {"found": [5], "false": [6]}),  # half of 6 lies in 1, which is not most of it
        ("111111112", "555555555", {"merged": [5], "joined": [1, 2]}),  # 5 would match 1, too
        ("111111111", "555555556", {"split": [1], "pieces": [5, 6]}),
        ("1111.2222.3", "5566.7777..", {"split": [1], "pieces": [5, 6], "found": [7], "missed": [3]}),
        ("....", "....", {}),
        ("....", "5566", {"false": [5, 6]}),
        ("1122", "....", {"missed": [1, 2]}),
    ],
)
def test_by_hand(truth, guess, expected):
    assert names(truth, guess) == expected


def test_the_threshold_decides_what_matches():
    assert names("1111", "555.", 0.75) == {"found": [5]}
    assert names("1111", "555.", 0.8) == {"missed": [1], "false": [5]}


@pytest.mark.parametrize("seed", range(30))
def test_each_object_has_one_outcome_and_the_counts_are_those_of_the_scores(seed):
    rng = np.random.default_rng(seed)
    truth, guess = (np.kron(rng.integers(0, 6, (4, 5)), np.ones((3, 2), int)) for _ in range(2))
    guess = np.where(rng.random(guess.shape) < 0.5, truth, guess) if seed % 2 else np.roll(truth, seed % 3, 1)
    found, scores = object_outcomes(truth, guess), instance_scores([truth], [guess])
    assert len(found.split) == scores["split"]
    assert len(found.merged) == scores["merged"]
    true = np.concatenate([found.missed, found.split, found.joined])
    guessed = np.concatenate([found.found, found.false, found.pieces, found.merged])
    assert len(np.unique(true)) == len(true)
    assert sorted(guessed.tolist()) == sorted(set(np.unique(guess).tolist()) - {0})
    others = set(np.unique(truth).tolist()) - {0} - set(true.tolist())  # those that are found
    assert len(others) >= len(found.found)


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match="shape"):
        object_outcomes(np.zeros((2, 2), int), np.zeros((2, 3), int))
