"""ECE by cases computed by hand, and the temperature against a search over all of them."""

import math

import numpy as np
import pytest

from unet_data import Calibration, expected_calibration_error, fit_temperature, pack_masks
from unet_data.datasets.label_rule import IGNORED
from unet_data.metrics import calibration
from unet_data.metrics.calibration import decisions, negative_log_likelihood

RNG = np.random.default_rng(0)


def noisy(count=4000, classes=3, factor=2.5):
    """Logits of known probabilities, made too certain by a factor, and labels drawn from the probabilities."""
    logits = RNG.normal(0, 1.5, (count, classes))
    chance = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth = (chance.cumsum(-1) < RNG.random((count, 1))).sum(-1)
    return factor * logits, truth


@pytest.mark.parametrize(
    ("confidence", "right", "ece"),
    [
        ([0.95, 0.95, 0.95, 0.95], [1, 1, 1, 1], 0.05),
        ([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 0], (2 * 0.45 + 2 * 0.05) / 4),
        ([1.0, 1.0], [1, 1], 0.0),  # the last bin ends at 1, and contains it
        ([1.0, 1.0], [0, 0], 1.0),
        ([0.6, 0.61], [1, 0], (0.4 + 0.61) / 2),  # 0.6 = 9 / 15 is the end of one bin, 0.61 lies in the next
        ([0.61, 0.65], [1, 0], abs(1 - 1.26) / 2),  # both in (9 / 15, 10 / 15]: one too sure makes up for the other
    ],
)
def test_by_hand(confidence, right, ece):
    assert expected_calibration_error(np.array(confidence), np.array(right, bool)) == pytest.approx(ece)


def test_nothing_to_count_has_no_score():
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0, bool)))
    empty = Calibration(keep=10)
    empty.add(np.zeros((2, 2)), np.full(2, IGNORED))
    assert all(math.isnan(v) for v in empty.scores.values())
    with pytest.raises(Exception, match="no pixel is counted"):
        empty.fitted()


def test_the_temperature_is_the_best_of_all():
    rows, truth = noisy()
    found = fit_temperature(rows, truth)
    tried = np.linspace(0.5, 6, 2201)
    best = tried[np.argmin([negative_log_likelihood(rows, truth, t) for t in tried])]
    assert found == pytest.approx(best, abs=0.003)
    assert found == pytest.approx(2.5, abs=0.2)  # what the logits were multiplied by


@pytest.mark.parametrize("overlapping", [False, True], ids=["classes", "overlapping"])
def test_one_logit_is_a_decision_between_two(overlapping):
    logits = RNG.normal(size=(5, 6, 1))
    label = (RNG.random((5, 6)) < 0.5).astype(np.int32)
    given = pack_masks(label[..., None]) if overlapping else label
    rows, truth = decisions(logits, given, overlapping)
    assert rows.shape == (30, 2)
    chance = 1 / (1 + np.exp(-logits.ravel()))
    wanted = -np.log(np.where(label.ravel() == 1, chance, 1 - chance)).mean()
    assert negative_log_likelihood(rows, truth) == pytest.approx(wanted)


def test_classes_that_overlap_are_decided_one_by_one_without_pixels_that_do_not_count():
    masks = np.array([[[1, 0, 1], [0, 0, 1]]], np.int8)
    masks = np.concatenate([masks, np.full((1, 1, 3), -1, np.int8)], axis=1)
    logits = RNG.normal(size=(1, 3, 3))
    rows, truth = decisions(logits, pack_masks(masks), True)
    np.testing.assert_array_equal(truth, [1, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(rows[:, 1], logits[0, :2].ravel())
    assert not rows[:, 0].any()


def test_images_are_counted_together_and_the_sample_is_of_all():
    rows, truth = noisy(600)
    truth[:50] = IGNORED
    whole, parts = Calibration(), Calibration(images=3, keep=300)
    whole.add(rows, truth)
    for part in range(3):
        parts.add(rows[200 * part : 200 * (part + 1)], truth[200 * part : 200 * (part + 1)])
    assert parts.scores == pytest.approx(whole.scores)
    assert parts.count == whole.count == 550
    assert [len(a) for a in parts.sample] == [300, 300]
    temperature, before, after = parts.fitted()
    assert after["nll"] < before["nll"]
    assert after["ece"] < before["ece"]
    assert temperature > 1.5


def test_an_error_at_the_ends_of_the_range():
    rows = np.array([[5.0, 0.0]] * 4)
    assert fit_temperature(rows, np.array([0, 0, 0, 0])) == pytest.approx(0.01)  # all right: the colder the better
    assert fit_temperature(rows, np.array([1, 1, 0, 1])) == pytest.approx(100.0)  # mostly wrong: the hotter


@pytest.mark.parametrize(
    ("confidence", "bins", "ece"),
    [
        ([0.5, 0.6], 2, 0.45),  # a bin holds its upper edge
        ([0.5, 0.6], 1, 0.05),
        ([0.4, 0.5], 2, 0.05),
        ([0.0, 0.6], 2, 0.2),  # nothing is below the first bin
    ],
)
def test_a_bin_ends_with_its_upper_edge(confidence, bins, ece):
    """The first decision is wrong, the second right."""
    found = expected_calibration_error(np.array(confidence), np.array([False, True]), bins)
    assert found == pytest.approx(ece)


def test_the_bins_and_the_limits_are_those_of_the_documents():
    assert (calibration.BINS, calibration.MAX_DECISIONS) == (15, 1_000_000)
    assert (calibration.MIN_TEMPERATURE, calibration.MAX_TEMPERATURE) == (0.01, 100.0)
