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
