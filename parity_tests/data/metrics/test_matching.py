"""Scores of objects: by hand, against dense formulas, and against panoptica where it is installed."""

import math

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from unet_data import ObjectCounts, instance_scores, match_objects
from unet_data.metrics.matching import (
    IOUS,
    aggregated_jaccard,
    counted,
    matches,
    merged_objects,
    overlaps,
    split_objects,
)
from unet_spec import InputError

CASES = 200


def case(seed):
    """Two label images: random rectangles, moved, split, merged, dropped; the first few are pathological."""
    rng = np.random.default_rng(seed)
    truth, guess = np.zeros((24, 26), int), np.zeros((24, 26), int)
    if seed == 0:
        return truth, guess
    for labels in (truth, guess) if seed > 1 else (truth,):
        for number in rng.permutation(40)[: rng.integers(1, 9)] + 1:
            y, x, h, w = rng.integers(0, 20, 2).tolist() + rng.integers(1, 9, 2).tolist()
            labels[y : y + h, x : x + w] = number
    kind = seed % 7
    if kind == 1:
        guess = truth * (seed > 1)
    elif kind == 2:
        guess = np.where(truth > 0, 1, 0)  # all in one
    elif kind == 3:
        guess = np.arange(truth.size).reshape(truth.shape)  # every pixel alone
    elif kind == 4:
        guess = np.roll(truth, int(rng.integers(1, 4)), axis=int(rng.integers(2)))
    elif kind == 5:
        guess = truth * 2 + (np.indices(truth.shape)[1] % 2) * (truth > 0)  # exact halves: IoU 0.5 twice
    return truth, guess


def dense(truth, guess):
    """Sizes in common and of either, as matrices."""
    rows, columns = (np.setdiff1d(np.unique(a), [0]) for a in (truth, guess))
    common = np.array([[np.sum((truth == r) & (guess == c)) for c in columns] for r in rows]).reshape(
        len(rows), len(columns)
    )
    one, other = (np.array([np.sum(a == n) for n in numbers]) for a, numbers in ((truth, rows), (guess, columns)))
    return common, one.reshape(-1, 1) + other.reshape(1, -1) - common, one, other


def stardist(truth, guess, threshold):
    """stardist.matching: an assignment over the whole matrix (its formulas; written anew)."""
    common, either, one, other = dense(truth, guess)
    iou = common / np.maximum(either, 1)
    few = min(len(one), len(other))
    if few:
        reached = (iou >= threshold).astype(float)
        pairs = linear_sum_assignment(-reached - iou / (2 * few))
        taken = iou[pairs][reached[pairs] > 0]
    else:
        taken = np.zeros(0)
    return ObjectCounts(len(taken), len(other) - len(taken), len(one) - len(taken), float(taken.sum()))


@pytest.mark.slow
@pytest.mark.parametrize("threshold", [0.5, 0.75])
def test_against_the_dense_assignment(threshold):
    for seed in range(CASES):
        got, expected = (f(*case(seed), threshold) for f in (match_objects, stardist))
        assert (got.matched, got.false, got.missed) == (expected.matched, expected.false, expected.missed), seed
        assert got.iou == pytest.approx(expected.iou, abs=1e-12), seed


def test_jaccard_splits_and_merges_against_dense_formulas():
    for seed in range(CASES):
        truth, guess = case(seed)
        common, either, one, other = dense(truth, guess)
        above, below, used = 0, 0, set()
        for i in range(len(one)):
            j = int(np.argmax(common[i] / either[i])) if len(other) else -1
            if j < 0 or common[i, j] == 0:
                below += one[i]
                continue
            above, below = above + common[i, j], below + either[i, j]
            used.add(j)
        below += sum(size for j, size in enumerate(other) if j not in used)
        found = overlaps(truth, guess)
        assert aggregated_jaccard(found) == (above, below), seed
        if common.size:
            assert split_objects(found) == ((2 * common > other[None]).sum(1) > 1).sum(), seed
            assert merged_objects(found) == ((2 * common > one[:, None]).sum(0) > 1).sum(), seed


@pytest.mark.slow
def test_against_panoptica():
    """It asks for an older NumPy, so that no extra installs it: pip install --no-deps panoptica."""
    panoptica = pytest.importorskip("panoptica")
    evaluator = panoptica.Panoptica_Evaluator(
        expected_input=panoptica.InputType.UNMATCHED_INSTANCE,
        instance_matcher=panoptica.NaiveThresholdMatching(matching_threshold=0.5),
        instance_metrics=[panoptica.Metric.IOU],
        global_metrics=[],
    )
    for seed in range(2, 40):
        truth, guess = case(seed)
        if seed % 7 == 5 or not truth.any() or not guess.any():
            continue  # pairs at exactly 0.5, of which it takes the first
        got = match_objects(truth, guess)
        [(_, theirs)] = evaluator.evaluate(guess.astype(np.uint32), truth.astype(np.uint32), verbose=False).items()
        assert theirs.tp == got.matched
        assert theirs.pq == pytest.approx(got.pq, abs=1e-12)
        assert theirs.rq == pytest.approx(got.f1, abs=1e-12)


def test_by_hand():
    truth = np.array([[1, 1, 1, 1, 0, 2, 2, 3, 3, 0]])
    guess = np.array([[4, 4, 4, 0, 0, 9, 9, 9, 9, 7]])
    scores = instance_scores([truth], [guess])
    # 1 and 4: 3 / 4. 2 and 3 have 2 / 4 of 9 each: one of them matches at 0.5. 7 is false.
    assert (scores["objects_true"], scores["objects_predicted"]) == (3, 3)
    assert scores["ap@0.50"] == 2 / 4
    assert scores["precision@0.50"] == scores["recall@0.50"] == scores["f1@0.50"] == 2 / 3
    assert scores["pq@0.50"] == pytest.approx((0.75 + 0.5) / 3)
    assert scores["ap@0.75"] == 1 / 5
    assert scores["ap@0.80"] == 0
    assert scores["ap_mean"] == pytest.approx((0.5 + 5 * 0.2) / 10)
    assert scores["dsb2018"] == scores["ap_mean"]
    assert (scores["split"], scores["merged"]) == (0, 1)
    assert scores["aji"] == (3 + 2 + 2) / (4 + 4 + 4 + 1)


def test_images_are_counted_together_and_ranked_one_by_one():
    nothing, one = np.zeros((1, 4), int), np.array([[1, 1, 0, 0]])
    scores = instance_scores([one, one, nothing], [one, nothing, nothing])
    assert scores["ap@0.50"] == 0.5
    assert scores["precision@0.50"] == 1
    assert scores["dsb2018"] == 0.5  # the empty image does not count
    empty = instance_scores([nothing], [nothing])
    assert math.isnan(empty["ap@0.50"])
    assert math.isnan(empty["dsb2018"])
    assert empty["split"] == 0
    perfect = instance_scores([one], [one])
    assert {perfect[f"{n}@{t:.2f}"] for n in ("ap", "f1", "pq", "recall") for t in IOUS} == {1.0}


def test_a_threshold_of_its_own_value_matches():
    truth, guess = np.array([[1, 1, 1, 0]]), np.array([[1, 1, 1, 1]])
    assert counted(overlaps(truth, guess), 0.75).matched == 1
    assert counted(overlaps(truth, guess), 0.7501).matched == 0


def test_what_is_no_pair_of_labels_is_refused():
    with pytest.raises(InputError, match="equal"):
        overlaps(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(InputError, match="negative"):
        overlaps(np.full((2, 2), -1), np.zeros((2, 2), int))


def test_objects_that_are_left_over_match_nothing():
    """A true object over two guesses, and two true objects under one: one match each, whatever is left over."""
    truth, guess = np.zeros((1, 40), int), np.zeros((1, 40), int)
    truth[0, :10], guess[0, :5], guess[0, 5:10] = 1, 1, 2
    guess[0, 20:30], truth[0, 20:25], truth[0, 25:30] = 3, 2, 3
    found = overlaps(truth, guess)
    chosen = matches(found, 0.5)
    assert len(chosen) == 2
    assert sorted(found.truth[chosen])[0] == 0
    assert set(found.guess[chosen]) & {0, 1}
    assert 2 in found.guess[chosen]
    assert len(matches(found, 0.51)) == 0


def test_the_thresholds_are_those_of_the_challenge():
    assert IOUS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
