"""Tiles that are blended, and plans and networks that do not fit the image."""

import numpy as np
import pytest

from unet_data.inference.stitch import check_logits, compute_tiles, predict_blended, predict_tiled
from unet_spec import InputError, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.tiles import plan_tiles

EXACT = {n: c for n, c in PRESETS.items() if c.geometry.shift_invariant}


# --- test-time augmentation and blending ------------------------------------------------------------------------------


def runs(name="paper"):
    config = EXACT[name].replace(widths=(2, 4), dropout=0.0)
    tensors = random_tensors(config.graph, 3, np.float64)
    return config, lambda x: config.graph.forward(tensors, x)


def test_blended_tiles_of_an_exact_plan_change_nothing():
    config, run = runs()
    image = np.random.default_rng(0).normal(size=(71, 53, 1))
    plan = plan_tiles(config.geometry, (71, 53), 36)
    assert np.abs(predict_blended(run, image, plan, 2) - predict_tiled(run, image, plan, 2)).max() < 1e-12


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("way", [predict_tiled, predict_blended])
def test_logits_that_are_not_finite_are_reported_and_not_made_labels(bad, way):
    config, run = runs()
    image = np.random.default_rng(0).normal(size=(71, 53, 1))
    plan = plan_tiles(config.geometry, (71, 53), 36)
    calls = []

    def overflows(tiles):
        logits = run(tiles)
        calls.append(len(calls))
        logits[..., 0].flat[3] = bad if len(calls) == 2 else logits[..., 0].flat[3]
        return logits

    with pytest.raises(InputError, match=r"the network returned NaN or infinite logits \(1 of \d+\)"):
        way(overflows, image, plan, 2)


NARROW = {name: config.replace(widths=(2, 4, 6)) for name, config in PRESETS.items()}


def test_a_plan_for_another_size_is_refused():
    config = NARROW["paper"]
    plan = plan_tiles(config.geometry, (50, 60))
    with pytest.raises(InputError, match=r"plan is for an image of \(50, 60\)"):
        predict_tiled(lambda x: x, np.zeros((50, 61, 1), np.float32), plan, 2)


def test_a_network_of_another_shape_is_refused():
    config = NARROW["paper"]
    plan = plan_tiles(config.geometry, (50, 60))
    with pytest.raises(InputError, match="the network returned"):
        predict_tiled(lambda x: x, np.zeros((50, 60, 1), np.float32), plan, 2)


PLAN = plan_tiles(NARROW["same"].geometry, (40, 56), (16, 24), halo=4)
IMAGE = np.random.default_rng(0).normal(size=(40, 56, 1)).astype(np.float32)


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_tiles_are_computed_in_batches_in_the_order_that_is_asked_for(batch):
    sizes, prepared, asked = [], [], [5, 3, 0, 2, 4]

    def run(windows):
        sizes.append(len(windows))
        return np.concatenate([windows, -windows], -1)

    def prepare(windows):
        prepared.append(windows.flags.c_contiguous)
        return windows * 10

    found = list(compute_tiles(run, IMAGE, PLAN, 2, asked, prepare, batch))
    assert [number for _, number, _ in found] == asked
    assert sizes == [min(batch, 5 - k) for k in range(0, 5, batch)]
    assert prepared == [True] * len(sizes)
    for tile, number, logits in found:
        assert tile == PLAN[number]
        np.testing.assert_array_equal(logits, np.concatenate([IMAGE, -IMAGE], -1)[tile.target] * 10)


def test_every_pixel_is_written_and_every_tile_counted():
    counts = []
    found = predict_tiled(lambda w: np.concatenate([w, w + 1], -1), IMAGE, PLAN, 2, 3, counts.append)
    np.testing.assert_array_equal(found, np.concatenate([IMAGE, IMAGE + 1], -1))
    assert found.dtype == np.float32
    assert counts == list(range(1, len(PLAN) + 1))


def test_blended_tiles_weigh_less_towards_their_edges():
    """Of two tiles of 8 pixels that overlap in 4, with outputs 0 and 1: a ramp of the tents' shares."""
    config = NARROW["same"].replace(widths=(2, 2))
    plan = plan_tiles(config.geometry, (12, 8), (8, 8), halo=2)
    assert [tile.start for tile in plan] == [(0, 0), (4, 0)]
    values = iter([0.0, 1.0])
    found = predict_blended(lambda w: np.full_like(w, next(values)), np.zeros((12, 8, 1)), plan, 1)[..., 0]
    tent = np.array([1, 2, 3, 4, 4, 3, 2, 1])
    expected = np.concatenate([np.zeros(4), tent[:4] / (tent[4:] + tent[:4]), np.ones(4)])
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 8, 1), rtol=1e-12)


def test_the_message_counts_what_is_not_finite():
    check_logits(np.ones((2, 3)))
    with pytest.raises(InputError, match=r"\(2 of 6\): it overflows on this image; unet diff finds the layer"):
        check_logits(np.array([[1, np.nan, 3], [4, np.inf, 6]]))


def test_the_message_says_what_the_network_returned():
    with pytest.raises(InputError, match=r"returned \(1, 16, 24, 1\) for tiles .*; expected \(1, 16, 24, 2\)"):
        predict_tiled(lambda w: w, IMAGE, PLAN, 2)
