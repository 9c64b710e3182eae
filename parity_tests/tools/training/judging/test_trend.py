"""The trend of hand-made logs."""

import math

import pytest

from unet_tools.training.judging.trend import trend

NOISE = [0.012, -0.015, 0.02, -0.008, 0.016, -0.02, 0.005, -0.012, 0.018, -0.01]
FALLING = [1.0, 0.8, 0.66, 0.56, 0.49, 0.44, 0.4, 0.37, 0.345, 0.33]


def log(validation, training=()):
    """A validation every ten steps, and training losses every five steps."""
    records = [{"step": 10 * (n + 1), "iou": 0.5, "validation_loss": v} for n, v in enumerate(validation)]
    records += [{"step": 5 * (n + 1), "loss": v} for n, v in enumerate(training)]
    return sorted(records, key=lambda record: (record["step"], "iou" in record))


def noisy(values, much=1.0):
    return [value + much * noise for value, noise in zip(values, NOISE, strict=True)]


@pytest.mark.parametrize(
    ("validation", "training", "direction"),
    [
        (FALLING, FALLING * 2, "falling"),
        (noisy(FALLING), (), "falling"),
        ([0.5] * 10, (), "flat"),
        (noisy([0.5] * 10), (), "flat"),
        (noisy([0.9, 0.6, *[0.4] * 8]), (), "flat"),
        (noisy([0.9, 0.6, *[0.4] * 8], 0.5), (), "flat"),
        ([1.0, 0.6, 0.4, 0.35, 0.36, 0.4, 0.45, 0.5, 0.56, 0.6], [1 / n for n in range(1, 21)], "overfitting"),
        ([1.0, 0.6, 0.4, 0.35, 0.36, 0.4, 0.45, 0.5, 0.56, 0.6], [0.5] * 20, "rising"),
        ([0.5, 0.6, 0.7, 0.9, 1.4], [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4], "rising"),
        ([0.5, 0.4, 0.3], (), "unknown"),
        ([0.5, math.nan, 0.4, None, 0.3], (), "unknown"),
        ([], [0.5, 0.4, 0.3, 0.2], "unknown"),
        ([0.8, 0.6, 0.4, 0.3], (), "falling"),
    ],
)
def test_the_trend_of_a_log(validation, training, direction):
    assert trend(log(validation, training)).direction == direction


def test_where_the_loss_was_lowest():
    found = trend(log([1.0, 0.5, 0.3, 0.4, 0.9], [1 / n for n in range(1, 11)]))
    assert found == ("overfitting", (30, 0.3), 0.9)


def test_one_bad_measurement_of_many_is_not_overfitting():
    values = [0.5] * 20
    values[7] = 0.465  # of 20, means of four count
    assert trend(log(values, [1 / n for n in range(1, 41)])).direction == "flat"


def straight(count, start, end):
    return [start + (end - start) * n / (count - 1) for n in range(count)]


@pytest.mark.parametrize(
    ("validation", "direction"),
    [
        ([1.0, 1.0, 1.0, 1.0390625], "flat"),  # at most 4 % above the lowest
        ([1.0, 1.0, 1.0, 1.041], "rising"),
        ([-1.0, -1.0, -1.0, -0.961], "flat"),  # of the absolute value
        ([-1.0, -1.0, -1.0, -0.959], "rising"),
        ([1.0, 1.0, 1.0, 0.961], "flat"),  # the last half has two values
        ([1.0, 1.0, 1.0, 0.959], "falling"),
        ([1.0, 0.5, 0.5, 0.5], "flat"),
        ([*[1.0] * 5, *straight(5, 1.0195, 0.9805)], "flat"),  # by 3.9 % of its mean
        ([*[1.0] * 5, *straight(5, 1.0205, 0.9795)], "falling"),
        ([*[1.0] * 5, *straight(5, 0.5205, 0.4805)], "falling"),
        ([*[1.0] * 5, 1.1, 0.9, 1.1, 0.9, 1.0], "flat"),  # within the uncertainty
        ([1.0, 0.9, 0.6, 0.5, 0.45, 0.45, 0.45], "flat"),  # the middle one belongs to the last half
    ],
)
def test_a_change_of_more_than_four_percent_is_a_trend(validation, direction):
    assert trend(log(validation)).direction == direction


def test_a_fall_counts_if_it_is_twice_its_uncertainty():
    """Of values at ±1 around a line, the slope's uncertainty is known."""
    steps, noise = [-2, -1, 0, 1, 2], [0, 1, -2, 1, 0]  # neither mean nor slope
    sigma = (sum(n * n for n in noise) / 3 / 10) ** 0.5
    for times, direction in ((1.9, "flat"), (2.1, "falling")):
        half = [10 + n - times * sigma * s for s, n in zip(steps, noise, strict=True)]
        assert trend(log([12.0] * 5 + half)).direction == direction


@pytest.mark.parametrize(("count", "lowest"), [(9, (10, 0.1)), (10, (20, 0.55)), (14, (20, 0.55)), (15, (30, 0.7))])
def test_a_fifth_of_the_validations_counts_at_once(count, lowest):
    found = trend(log([0.1, *[1.0] * (count - 1)], [0.5] * 4))
    assert (found.lowest, found.now) == ((lowest[0], pytest.approx(lowest[1])), pytest.approx(1.0))


@pytest.mark.parametrize(
    ("training", "direction"),
    [
        ([1.0] * 6 + [0.9] * 4, "overfitting"),
        ([1.0] * 10, "rising"),
        ([0.5] * 6 + [0.9] * 4, "rising"),
        ([2.0, 2.0, 0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.6, 0.6], "rising"),  # only what is near the lowest loss counts
        ([1.0] * 6 + [1.5, 1.5, 0.9, 0.9], "overfitting"),  # and the last half of what came later
        ([1.0] * 6, "rising"),  # nothing came later
        ([], "rising"),
        ([1.0] * 5 + [0.1, *[0.9] * 4], "rising"),  # step 30 is not later than itself
    ],
)
def test_a_loss_that_rises_is_overfitting_if_the_training_loss_fell_meanwhile(training, direction):
    assert trend(log([1.0, 0.5, 0.3, 0.5, 0.9], training)).direction == direction
