"""Scores of segmentations into objects, against scikit-image and against counting all pairs of pixels."""

import math

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error as skimage_adapted_rand
from skimage.metrics import variation_of_information

from unet_data.metrics.clustering import adapted_rand_error, overlap, v_info, v_rand
from unet_spec import InputError


def random_labels(seed, low=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, (20, 21))
    proposal = np.where(rng.random(truth.shape) < 0.7, truth + 1, rng.integers(low, 7, truth.shape))
    return np.maximum(proposal, low), truth


@pytest.mark.parametrize("seed", range(4))
def test_against_scikit_image(seed):
    """Where the proposal gives every pixel to an object, both count the same pairs, but for those of a pixel with
    itself: scikit-image has n (n − 1) of n pixels, the article n²."""
    proposal, truth = random_labels(seed, low=1)
    table = overlap(proposal, truth)
    counts = np.array([(truth[truth > 0] == j).sum() for j in np.unique(truth[truth > 0])])
    np.testing.assert_allclose(sorted(table.truth * table.pixels), sorted(counts))
    error, precision, recall = skimage_adapted_rand(truth, proposal, ignore_labels=(0,))
    n = table.pixels
    both, ours, theirs = (float((x**2).sum()) * n**2 for x in (table.joint, table.proposal, table.truth))
    # What scikit-image returns as precision is divided by the truth's pairs, whatever its documentation says.
    assert (both - n) / (theirs - n) == pytest.approx(precision, rel=1e-12)
    assert (both - n) / (ours - n) == pytest.approx(recall, rel=1e-12)
    assert 1 - 2 * (both - n) / (ours + theirs - 2 * n) == pytest.approx(error, rel=1e-12)
    assert adapted_rand_error(table) == pytest.approx(1 - 2 * both / (ours + theirs), rel=1e-12)
    assert v_rand(table, 1.0) == pytest.approx(both / ours, rel=1e-12)
    assert v_rand(table, 0.0) == pytest.approx(both / theirs, rel=1e-12)
    split, merge = variation_of_information(truth[truth > 0], proposal[truth > 0])  # in bits
    joint = -(table.joint * np.log2(table.joint)).sum()
    h_s, h_t = (-(x * np.log2(x)).sum() for x in (table.proposal, table.truth))
    assert {round(joint - h_s, 9), round(joint - h_t, 9)} == {round(split, 9), round(merge, 9)}
    assert v_info(table) == pytest.approx(2 * (h_s + h_t - joint) / (h_s + h_t), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_against_counting_all_pairs_of_pixels(seed):
    """Unassigned pixels included: each stands alone."""
    proposal, truth = (a[:7, :7] for a in random_labels(seed))
    s, t = proposal[truth > 0].astype(object), truth[truth > 0]
    s = np.array([x if x else f"lone {i}" for i, x in enumerate(s)], dtype=object)
    n = len(t)
    joined = [(s[i] == s[j], t[i] == t[j]) for i in range(n) for j in range(n)]  # ordered, with themselves
    both, ours, theirs = (
        sum(x) for x in ((a and b for a, b in joined), (a for a, _ in joined), (b for _, b in joined))
    )
    table = overlap(proposal, truth)
    assert v_rand(table, 1.0) == pytest.approx(both / ours)
    assert v_rand(table, 0.0) == pytest.approx(both / theirs)
    assert v_rand(table) == pytest.approx(2 * both / (ours + theirs))
    named = np.unique(np.array([str(x) for x in s]), return_inverse=True)[1] + 1
    assert v_info(table) == pytest.approx(v_info(overlap(named, t)), rel=1e-12)


def test_by_hand():
    """One object of 4 pixels split into 2 + 2: Σp² = 2/4, Σs² = 2/4, Σt² = 1."""
    truth = np.array([[1, 1, 1, 1, 0]])
    split = overlap(np.array([[1, 1, 2, 2, 2]]), truth)
    assert v_rand(split) == pytest.approx(0.5 / 0.75)
    assert v_info(split) == 0  # one object: nothing that the proposal could tell about it
    two = np.array([[1, 1, 2, 2, 0]])
    merged = overlap(np.array([[5, 5, 5, 5, 1]]), two)
    assert v_rand(merged) == pytest.approx(0.5 / 0.75)
    assert v_info(merged) == 0
    same = overlap(np.array([[7, 7, 3, 3, 3]]), two)
    assert (v_rand(same), v_info(same), adapted_rand_error(same)) == pytest.approx((1, 1, 0))
    nothing = overlap(np.zeros((1, 5), int), two)  # all alone: Σp² = 4/16, Σs² = 4/16, Σt² = 1/2
    assert v_rand(nothing) == pytest.approx(0.25 / 0.375)
    assert v_info(nothing) == pytest.approx(2 * math.log(2) / (math.log(4) + math.log(2)))
    assert math.isnan(v_rand(overlap(two, np.zeros_like(two))))
    one = overlap(np.ones((2, 2), int), np.ones((2, 2), int))
    assert (v_rand(one), v_info(one)) == (1, 1)


def test_pixels_outside_of_the_truths_objects_do_not_count():
    proposal, truth = random_labels(0)
    changed = np.where(truth == 0, 99, proposal)
    assert v_rand(overlap(changed, truth)) == v_rand(overlap(proposal, truth))


@pytest.mark.parametrize(
    ("proposal", "words"),
    [(np.zeros((2, 2), int), "shape"), (np.zeros((1, 5)), "integers"), (-np.ones((1, 5), int), "0 or more")],
)
def test_refusals(proposal, words):
    with pytest.raises(InputError, match=words):
        overlap(proposal, np.ones((1, 5), int))


def test_v_info_leans_to_splits_or_mergers_as_alpha_says():
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
    split_, merged = (overlap(np.array([row]), truth) for row in ([1, 1, 3, 3, 2, 2, 2, 2], [1] * 8))
    h_s, h_t = 1.5 * np.log(2), np.log(2)  # shares ¼, ¼, ½ and ½, ½; I = H(T), as the split tells all of the truth
    for alpha in (0.0, 0.3, 1.0):
        assert v_info(split_, alpha) == pytest.approx(h_t / ((1 - alpha) * h_s + alpha * h_t))
    assert v_info(merged, 0.5) == 0
