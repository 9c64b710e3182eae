"""From a network's outputs to its scores: which number, at which threshold, of which images."""

import math
from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, membrane_instances, membranes
from unet_data.labels.regions import regions
from unet_data.metrics.clustering import overlap, v_info, v_rand
from unet_data.metrics.evaluate import THRESHOLDS, measure, measure_samples, object_scores
from unet_data.metrics.thinning import thin_borders
from unet_data.metrics.warping import warping_error
from unet_spec import DataSpec, preset


def test_object_scores_take_the_best_threshold():
    truth = membrane_instances(1, 96, 1)[0]
    chance = np.where(truth > 0, 0.65, 0.45).astype(np.float32)  # right above 0.45 and below 0.65 only
    scores = object_scores([chance], [truth])
    assert scores["v_rand"] == pytest.approx(1, abs=1e-12)
    assert scores["v_info"] == pytest.approx(1, abs=1e-12)
    assert scores["v_rand_threshold"] in (0.5, 0.6)
    assert object_scores([chance], [truth], (0.1,))["v_rand"] < 0.5
    assert math.isnan(object_scores([chance], [np.zeros_like(truth)])["v_rand"])
    sure = np.where(truth > 0, 0.999, 0.92).astype(np.float32)  # a network that all but misses its borders
    assert object_scores([sure], [truth])["v_rand_threshold"] == 0.95


CONFIG = preset("paper", widths=(2, 4), padding="same")
TRUTH = membrane_instances(2, 64, 0)


def chances(seed):
    """A proposal that is wrong in places, with a value of its own at each pixel."""
    rng = np.random.default_rng(seed)
    truth = TRUTH[seed] > 0
    return np.clip(np.where(truth, 0.85, 0.15) + rng.normal(0, 0.15 + 0.1 * seed, truth.shape), 0, 1)


def brute(chance, truth, threshold):
    return overlap(thin_borders(regions(chance > threshold)), truth)


def test_each_score_is_of_all_images_at_its_own_best_threshold():
    given = [chances(0), chances(1)]
    found = object_scores(given, TRUTH)
    for name, score in (("v_rand", v_rand), ("v_info", v_info)):
        each = np.array(
            [[score(brute(c, t, threshold)) for c, t in zip(given, TRUTH, strict=True)] for threshold in THRESHOLDS]
        )
        means = each.mean(1)
        assert found[name] == pytest.approx(means.max(), rel=1e-12)
        assert found[f"{name}_threshold"] == THRESHOLDS[int(means.argmax())]
        assert found[name] < each.max(0).mean() - 1e-6  # not the best of each image
        assert each[:, 0].argmax() != means.argmax()  # nor the first image's
    assert found["v_rand"] != found["v_info"]
    wide = [1 - v_rand(overlap(regions(c > 0.5), t)) for c, t in zip(given, TRUTH, strict=True)]
    assert found["adapted_rand_error"] == pytest.approx(np.mean(wide), rel=1e-12)
    thin = [1 - v_rand(brute(c, t, 0.5)) for c, t in zip(given, TRUTH, strict=True)]
    assert abs(np.mean(wide) - np.mean(thin)) > 1e-4


def test_a_pixel_is_inside_above_the_threshold_not_at_it():
    truth = np.zeros((9, 9), int)
    truth[:, :4], truth[:, 5:] = 1, 2
    chance = np.where(truth > 0, 1.0, 0.5)
    assert object_scores([chance], [truth], (0.5,))["v_rand"] == 1
    assert object_scores([chance + 1e-6], [truth], (0.5,))["v_rand"] < 0.9


def network(images):
    """From the first channel, the logit of class 1: as the paper's heads, two channels."""
    z = images[..., :1] * 4
    return np.concatenate([-z, z], -1)


def test_measure_calls_the_truth_the_truth():
    """The warping error is not symmetrical: it moves the borders of the truth."""
    truth = np.ones((24, 24), np.int32)
    truth[:, 12] = 0
    image = np.where(truth > 0, 1.0, -1.0)
    image[4:9, 4:9], image[5:8, 5:8], image[10:13, 12] = -1, 1, 1
    data = Dataset((image[..., None].astype(np.float32),), (truth,), ("a",), ("membrane", "cell"), "here")
    guess = image > 0
    one, other = warping_error(truth > 0, guess), warping_error(guess, truth > 0)
    assert abs(one - other) > 1e-3
    assert measure(network, CONFIG, DataSpec(), data, warp=True)["warping_error"] == one


def test_each_image_has_hypotheses_of_its_own():
    config = preset("probabilistic-unet")
    size = tuple(grid.above(16) for grid in config.geometry.grids)
    made = membranes(2, size, 0, config.in_channels)
    made = replace(made, images=(made.images[0],) * 2, labels=(made.labels[0],) * 2)
    seen = []

    def run(images, noise):
        seen.append(noise)
        shape = (len(noise), *images.shape[1:-1], config.out_channels)
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)

    measure_samples(run, config, DataSpec(), made, 3, 7)
    assert len(seen) == 2
    assert np.abs(seen[0] - seen[1]).max() > 0.1
