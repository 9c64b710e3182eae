"""Pixels that are ignored change no score."""

from dataclasses import replace

import numpy as np
import pytest

from unet_data import IGNORED, membranes
from unet_data.metrics.evaluate import commonest_class_accuracy, measure, measure_samples
from unet_data.metrics.warping import warping_error
from unet_spec import DataSpec, InputError, preset

CONFIG = preset("paper", widths=(2, 4), dropout=0.0, padding="same")
MADE = membranes(6, 40, 0)
HOLES = np.random.default_rng(1).random((6, 10, 10)).repeat(4, 1).repeat(4, 2) < 0.2  # squares of 4 pixels
HOLES[4] = True  # an image without a pixel that counts
LABELS = tuple(np.where(hole, np.int32(IGNORED), y) for hole, y in zip(HOLES, MADE.labels, strict=True))
DATA = replace(MADE, labels=LABELS, ignore=255)


def segment(windows):
    """A network without weights: class 1 where the image is bright."""
    return np.concatenate([-windows, windows], axis=-1)


def scored(data, **options):
    return measure(segment, CONFIG, DataSpec((0.4,), (0.2,)), data, objects=True, warp=True, **options)


def test_scores_are_those_of_the_pixels_that_count():
    data = DATA
    found = scored(data)
    kept = np.stack(data.labels) >= 0
    truth, guess = np.stack(data.labels)[kept], (np.stack(data.images)[..., 0] / 255 > 0.4)[kept]
    hits = [((truth == k) & (guess == k)).sum() for k in (0, 1)]
    sums = [(truth == k).sum() + (guess == k).sum() for k in (0, 1)]
    assert found["pixel_accuracy"] == pytest.approx(1 - found["pixel_error"])
    assert found["pixel_accuracy"] == pytest.approx((truth == guess).mean(), rel=1e-12)
    assert found["dice"] == pytest.approx(np.mean([2 * h / s for h, s in zip(hits, sums, strict=True)]), rel=1e-12)
    assert found["iou"] == pytest.approx(np.mean([h / (s - h) for h, s in zip(hits, sums, strict=True)]), rel=1e-12)
    assert commonest_class_accuracy(data) == max(np.mean(truth == 0), np.mean(truth == 1))
    assert scored(data.subset([0, 1, 2, 3, 5])) == found  # the image that is ignored altogether is as if not there
    with pytest.raises(InputError, match="255 everywhere"):
        scored(data.subset([4]))


def test_what_is_predicted_at_ignored_pixels_changes_no_score():
    data = DATA
    inverted = tuple(
        np.where(y[..., None] < 0, 255 - x, x).astype(np.uint8) for x, y in zip(data.images, data.labels, strict=True)
    )
    found = scored(data)
    assert scored(replace(data, images=inverted)) == found
    assert min(found["v_rand"], found["warping_error"], 1 - found["v_info"]) > 0.001
    for noise in (0, 255):  # and a network that is right where it counts is right
        perfect = tuple(np.where(y < 0, noise, y * 255).astype(np.uint8)[..., None] for y in data.labels)
        right = scored(replace(data, images=perfect))
        assert (right["pixel_error"], right["warping_error"], right["iou"]) == (0, 0, 1)
        assert min(right["v_rand"], right["v_info"]) == pytest.approx(1)


def test_the_warping_error_is_a_share_of_the_pixels_that_count():
    truth, proposal, counted = np.zeros((3, 12, 10), bool)
    proposal[2, 2] = proposal[9, 9] = True  # invented objects, of which the second is where nothing counts
    counted[:6] = True
    assert warping_error(truth, proposal, counted=counted) == 1 / 60
    assert np.isnan(warping_error(truth, proposal, counted=~np.ones_like(truth)))


def test_the_energy_distance_is_of_the_pixels_that_count():
    config = preset("probabilistic-unet", widths=(2, 3), latent=2)
    data = DATA

    def drawn(windows, noise):  # hypotheses that differ, one a row of noise
        return np.concatenate([windows - 0.4 + 0.1 * n for n in noise[:, 0]])

    found, less = (measure_samples(drawn, config, DataSpec(), d, 3) for d in (data, data.subset([0, 1, 2, 3])))
    assert 0 < found["energy_distance"] < 2
    assert measure_samples(drawn, config, DataSpec(), data.subset([0, 1, 2, 3, 4]), 3) == less
    inverted = tuple(
        np.where(y[..., None] < 0, 255 - x, x).astype(np.uint8) for x, y in zip(data.images, data.labels, strict=True)
    )
    assert measure_samples(drawn, config, DataSpec(), replace(data, images=inverted), 3) == found
