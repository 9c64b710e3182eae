"""Tiles that are blended, and plans and networks that do not fit the image."""

import numpy as np
import pytest

from unet_data.inference.stitch import predict_blended, predict_tiled
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
