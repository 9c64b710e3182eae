"""Generalised energy distance, against numbers found by hand."""

import numpy as np
import pytest

from unet_data import energy_distance
from unet_data.metrics.energy import iou_distances
from unet_spec import InputError

# Four pixels in a row. IoU of A and B: 1/3, of A and C: 0, of B and C: 1/3.
A, B, C, NONE = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0]])


def test_distances_of_pairs():
    found = iou_distances(np.stack([A, B, NONE]), np.stack([A, C, NONE]))
    np.testing.assert_allclose(found, [[0, 1, 1], [2 / 3, 2 / 3, 1], [1, 1, 0]], atol=1e-15)


@pytest.mark.parametrize(
    ("samples", "truths", "wanted"),
    [
        ([A], [A], 0),
        ([A], [C], 2),
        ([A], [B], 4 / 3),
        # E d(S, Y) = 1/3, E d(S, S') = (0 + 2/3 + 2/3 + 0) / 4 = 1/3, E d(Y, Y') = 0
        ([A, B], [A], 1 / 3),
        # the same set in another order and number: 2 · 1/3 − 1/3 − 1/3
        ([A, B], [B, A, A, B], 0),
        # one sample for two opinions: 2 · (0 + 1) / 2 − 0 − (0 + 1 + 1 + 0) / 4
        ([A], [A, C], 1 / 2),
        # between: (0 + 1 + 1 + 0) / 4 = 1/2, within: 1/2, among: 1/2
        ([A, C], [A, C], 0),
        ([NONE], [NONE], 0),
        ([NONE], [A], 2),
    ],
)
def test_by_hand(samples, truths, wanted):
    assert energy_distance(np.stack(samples), np.stack(truths)) == pytest.approx(wanted, abs=1e-15)


def test_classes_are_averaged_and_background_is_none():
    one, two = np.array([[1, 1, 2, 0]]), np.array([[1, 0, 2, 2]])
    # class 1: 1/2, class 2: 1/2; a class that neither has does not count
    assert energy_distance(one, two, classes=4) == pytest.approx(2 * (1 - 1 / 2))
    # class 1: 1/2; class 2 occurs in one of them: 0
    assert energy_distance(one, np.array([[1, 0, 0, 0]]), classes=3) == pytest.approx(2 * (1 - 1 / 4))


def test_against_a_loop_over_pairs():
    rng = np.random.default_rng(0)
    s, t = rng.integers(0, 3, (5, 6, 7)), rng.integers(0, 3, (3, 6, 7))

    def d(a, b):
        return 1 - np.mean([(a == k)[b == k].sum() / ((a == k) | (b == k)).sum() for k in (1, 2)])

    mean = [np.mean([d(a, b) for a in x for b in y]) for x, y in ((s, t), (s, s), (t, t))]
    assert energy_distance(s, t, 3) == pytest.approx(2 * mean[0] - mean[1] - mean[2], abs=1e-12)


@pytest.mark.parametrize(
    ("samples", "truths", "message"),
    [
        (np.zeros((0, 4), int), A[None], r"the samples have shape \(0, 4\)"),
        (A[None], A[None, :3], r"the samples are \(4,\) pixels and the truths \(3,\)"),
        (A[None] * 0.5, A[None], "the samples are float64; give class numbers as integers"),
        (A[None], A[None] * 2, "the truths have values from 0 to 2; expected 0..1"),
    ],
)
def test_what_is_refused(samples, truths, message):
    with pytest.raises(InputError, match=message):
        energy_distance(samples, truths)
