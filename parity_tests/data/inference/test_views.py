"""Rotated and mirrored views of an image, and their mean."""

import numpy as np
import pytest

from unet_data.inference.stitch import predict_tiled
from unet_data.inference.views import as_logits, augmented, predict_rotated, symmetries
from unet_spec import random_tensors
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
