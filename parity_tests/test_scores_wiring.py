"""From a network's outputs to its scores: which number is which, at which threshold, of which images; and what else of
the data reaches who asks for it."""

from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, membrane_instances, membranes, split
from unet_data.border_weights import weight_maps
from unet_data.check import RARE, check_dataset
from unet_data.clustering import overlap, v_info, v_rand
from unet_data.evaluate import THRESHOLDS, measure, measure_samples, object_scores
from unet_data.labels import label_rule
from unet_data.test_time import predict_rotated
from unet_data.thinning import regions, thin_borders
from unet_data.warping import warp, warping_error
from unet_data.window_weights import window_weights
from unet_spec import FAMILY_PRESETS, DataSpec, InputError, preset

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


def test_v_info_leans_to_splits_or_mergers_as_alpha_says():
    truth = np.array([[1, 1, 1, 1, 2, 2, 2, 2]])
    split_, merged = (overlap(np.array([row]), truth) for row in ([1, 1, 3, 3, 2, 2, 2, 2], [1] * 8))
    h_s, h_t = 1.5 * np.log(2), np.log(2)  # shares ¼, ¼, ½ and ½, ½; I = H(T), as the split tells all of the truth
    for alpha in (0.0, 0.3, 1.0):
        assert v_info(split_, alpha) == pytest.approx(h_t / ((1 - alpha) * h_s + alpha * h_t))
    assert v_info(merged, 0.5) == 0


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


def test_a_border_may_move_by_the_reach_and_no_farther():
    truth, moved = np.zeros((9, 20), bool), np.zeros((9, 20), bool)
    truth[:, :5], moved[:, :8] = True, True
    assert [reach for reach in range(6) if warping_error(truth, moved, reach) == 0] == [3, 4, 5]
    assert (warp(truth, moved, 3) == moved).all()


def test_each_image_has_hypotheses_of_its_own():
    config = FAMILY_PRESETS["probabilistic-unet"]
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


def test_rotations_mirror_the_image_at_its_edge():
    image = np.full((20, 31, 1), 7, np.float32)
    seen = []

    def predict(view):
        seen.append(view)
        return np.concatenate([np.zeros_like(view), view - 6], -1)

    found = predict_rotated(predict, image)
    assert len(seen) == 7
    for view in seen:
        np.testing.assert_allclose(view, 7, rtol=1e-5)
    np.testing.assert_allclose(found[..., 1] - found[..., 0], 1, rtol=1e-4)


def test_border_weights_in_one_cache_are_of_their_own_w0(tmp_path):
    data = membranes(2, 48, 0)
    ten, five = (weight_maps(data, w0, 5, False, tmp_path) for w0 in (10, 5))
    for one, other in zip(ten, five, strict=True):
        np.testing.assert_allclose(one - 1, 2 * (other - 1), rtol=1e-6)
        assert (one > 1).any()


def test_a_window_sees_cells_as_far_as_they_weigh(tmp_path):
    """One just outside of it, the other 36 pixels away, where the farthest that weigh are 60."""
    label = np.zeros((1, 99), np.int32)
    label[0, 28], label[0, 75] = 1, 1
    data = Dataset((np.zeros((1, 99, 1), np.uint8),), (label,), ("a",), ("background", "foreground"), "here")
    whole = weight_maps(data, 1e6, 10, False, tmp_path)[0]
    window = (slice(0, 1), slice(30, 40))
    found = window_weights(data, 1e6, 10, False, tmp_path)[0][window]
    np.testing.assert_array_equal(found, whole[window])
    assert (found > 2).all()


def test_up_to_32_classes_are_taken_for_classes():
    def rule(count):
        return label_rule([np.arange(count, dtype=np.uint8)[None]], ["a.png"])

    assert (rule(32).kind, rule(32).classes) == ("semantic", 32)
    with pytest.raises(InputError, match="cannot tell what the label values"):
        rule(33)


def told(data, least=0):
    return [p.what for p in check_dataset(data, least)]


@pytest.mark.parametrize(("share", "rare"), [(0.9 * RARE, True), (1.2 * RARE, False)])
def test_a_class_is_rare_below_half_a_percent(share, rare):
    made = membranes(8, 40, 0)
    labels = tuple(label.copy() for label in made.labels)
    for label in labels:
        label.ravel()[: round(share * label.size)] = 2
    found = told(replace(made, labels=labels, class_names=("a", "b", "c")))
    assert any("weigh or balance it" in what for what in found) == rare


def test_an_image_is_small_where_one_side_is():
    made = membranes(4, (40, 80), 0)
    assert any("smaller than the 64 pixels" in what for what in told(made, 64))
    assert not any("smaller than" in what for what in told(made, 40))


def test_the_objects_numbers_go_with_their_images():
    made = membranes(3, 40, 0)
    numbered = replace(made, instances=membrane_instances(3, 40, 0))
    chosen = numbered.subset([2, 0])
    assert [a is b for a, b in zip(chosen.instances, (numbered.instances[2], numbered.instances[0]), strict=True)] == [
        True
    ] * 2
    volume = membranes(1, 24, 0, spatial_dims=3)
    volume = replace(volume, instances=membrane_instances(1, 24, 0, spatial_dims=3))
    parts = split(volume)
    np.testing.assert_array_equal(np.concatenate([part.instances[0] for part in parts]), volume.instances[0])
    assert [len(part.instances[0]) for part in parts] == [len(part.images[0]) for part in parts]
