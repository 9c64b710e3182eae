"""Rotated and mirrored views of an image, and their mean."""

import math

import numpy as np
import pytest
from scipy.special import expit

from unet_data.inference.stitch import predict_tiled
from unet_data.inference.views import PAPER_ROTATIONS, as_logits, augmented, predict_rotated, symmetries
from unet_spec import InputError, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.tiles import plan_tiles

EXACT = {n: c for n, c in PRESETS.items() if c.geometry.shift_invariant}


# --- test-time augmentation and blending ------------------------------------------------------------------------------


def runs(name="paper"):
    config = EXACT[name].replace(widths=(2, 4), dropout=0.0)
    tensors = random_tensors(config.graph, 3, np.float64)
    return config, lambda x: config.graph.forward(tensors, x)


@pytest.mark.parametrize("name", ["paper", "same"])
@pytest.mark.parametrize("symmetry", ["flips", "turns", "flips+turns"])
def test_augmented_tiles_equal_the_augmented_whole_image(symmetry, name):
    config, run = runs(name)
    image = np.random.default_rng(0).normal(size=(71, 53, 1))
    whole = predict_tiled(augmented(run, symmetry), image, plan_tiles(config.geometry, (71, 53)), 2)
    plan = plan_tiles(config.geometry, (71, 53), 36)
    assert len(plan) > 3
    tiled = predict_tiled(augmented(run, symmetry), image, plan, 2)
    assert np.abs(whole - tiled).max() < 1e-12
    plain = predict_tiled(run, image, plan_tiles(config.geometry, (71, 53)), 2)
    assert np.abs(whole - plain).max() > 1e-2, "it does nothing"


@pytest.mark.parametrize(("symmetry", "views"), [("flips", 4), ("turns", 4), ("flips+turns", 8)])
def test_views_are_undone(symmetry, views):
    """A network that answers each pixel by itself must not notice; each view is another one."""
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1))
    same = augmented(lambda v: np.concatenate([v, -v], -1), symmetry)(x)
    assert np.allclose(same[..., 1] - same[..., 0], -2 * x[..., 0])
    seen = {np.rot90(np.flip(x, f), k, (-3, -2)).tobytes() for f, k in symmetries(symmetry, 2)}
    assert len(seen) == views == len(symmetries(symmetry, 2))


@pytest.mark.parametrize("channels", [1, 3])
def test_probabilities_become_logits_again(channels):
    from unet_data import probabilities

    z = np.random.default_rng(0).normal(size=(5, channels))
    assert np.allclose(probabilities(as_logits(probabilities(z), channels)), probabilities(z))


def test_rotations_are_rotated_back():
    y, x = np.mgrid[:61, :47]
    image = np.sin(y / 9) * np.cos(x / 7)
    found = predict_rotated(lambda v: np.concatenate([v, -v], -1), image[..., None].astype(np.float32))
    inside = (slice(8, -8), slice(8, -8))
    assert np.abs((found[..., 0] - found[..., 1]) / 2 - image)[inside].max() < 0.02


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


@pytest.mark.parametrize("channels", [1, 3])
def test_a_distance_is_averaged_as_it_is(channels):
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 1))
    rows = np.arange(6.0).reshape(1, 6, 1, 1)

    def run(views):
        return np.concatenate([views * (k + 1) for k in range(channels)] + [9 * views + rows[:, : views.shape[1]]], -1)

    found = augmented(run, "flips", distance=True)(x)
    np.testing.assert_allclose(found[..., -1:], 9 * x + rows.mean())
    np.testing.assert_allclose(found[..., :-1], augmented(lambda v: run(v)[..., :-1], "flips")(x))
    flat = np.full((20, 31, 1), 7, np.float32)
    turned = predict_rotated(lambda v: np.concatenate([v] * channels + [v], -1), flat, distance=True)
    np.testing.assert_allclose(turned[..., -1], 7, rtol=1e-5)


def test_the_angles_are_seven_equal_parts_of_a_turn():
    assert np.allclose(PAPER_ROTATIONS, np.arange(7) * 360 / 7)


def test_views_of_a_volume_flip_every_axis_and_turn_the_last_two():
    assert len(symmetries("flips", 3)) == 8
    assert len(symmetries("turns", 3)) == 4
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 6, 1))
    seen = []

    def run(views):
        seen.append(views)
        return np.concatenate([0 * views, views], -1)

    found = augmented(run, "turns")(x)
    np.testing.assert_allclose(found[..., 1] - found[..., 0], x[..., 0], atol=1e-12)
    assert [view.shape[1:4] for view in seen] == [(3, 4, 6), (3, 6, 4)] * 2
    assert all(view.flags.c_contiguous for view in seen)


def test_overlapping_classes_are_averaged_each_for_itself():
    x = np.array([[0.0, 3.0]]).reshape(1, 1, 2, 1)
    columns = np.array([1.0, -2.0]).reshape(1, 1, 2, 1)
    found = augmented(lambda v: np.concatenate([v * columns, v + 1], -1), "flips", overlapping=True)(x)
    first = (expit(x * columns) + expit(x * columns[:, :, ::-1])) / 2
    np.testing.assert_allclose(expit(found), np.concatenate([first, expit(x + 1)], -1), rtol=1e-6)
    np.testing.assert_allclose(as_logits(np.array([[0.0, 1.0]]), 2, True), [[-87.3365, 87.3365]], rtol=1e-5)


@pytest.mark.parametrize("angle", [90.0, -90.0, 180.0])
def test_a_quarter_turn_is_exact(angle):
    image = np.random.default_rng(0).integers(0, 60000, (5, 8, 2)).astype(np.uint16)
    seen = []

    def run(view):
        seen.append(view)
        return view.astype(np.float32)

    found = predict_rotated(run, image, (angle,), overlapping=True)
    expected = np.rot90(image, -round(angle / 90))
    np.testing.assert_array_equal(seen[0], expected)
    np.testing.assert_allclose(expit(found), expit(image.astype(float)), atol=1e-5)


def test_a_turned_view_contains_the_whole_image():
    sizes = []

    def run(view):
        sizes.append((view.shape, view.dtype))
        return np.concatenate([view, view], -1).astype(np.float32)

    predict_rotated(run, np.zeros((30, 50, 1), np.uint8), (0.0, 360.0, 30.0, -60.0))
    sine, cosine = 0.5, 3**0.5 / 2
    turned = [(30 * cosine + 50 * sine, 30 * sine + 50 * cosine), (30 * sine + 50 * cosine, 30 * cosine + 50 * sine)]
    expected = [(30, 50), (30, 50), *[tuple(map(math.ceil, size)) for size in turned]]
    assert sizes == [((*size, 1), np.uint8) for size in expected]


def test_volumes_are_not_rotated():
    with pytest.raises(InputError, match="rotations are for 2-D images; --augment flips works in 3-D"):
        predict_rotated(lambda view: view, np.zeros((4, 4, 4, 1), np.uint8))
