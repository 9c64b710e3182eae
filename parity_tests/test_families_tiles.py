"""Whether what the geometry promises of tiles holds: inside of the halo, a tile has the whole image's values."""

import numpy as np
import pytest

from parity_tests.family_cases import FAMILIES
from unet_spec import random_tensors

EXACT = ["m-net", "sa-unet", "multiresunet", "unet++-half-pixel"]


@pytest.mark.parametrize("name", EXACT)
def test_tiles_are_exact(name):
    config = FAMILIES[name]
    geometry = config.geometry
    assert geometry.shift_invariant
    step, (low, high) = geometry.grid().step, geometry.halo()
    tile = -(-(low + high + 2 * step) // step) * step
    tensors = random_tensors(config.graph, 0, np.float64)
    whole = np.random.default_rng(1).normal(size=(1, tile + 2 * step, tile + 3 * step, config.in_channels))
    reference = config.graph.forward(tensors, whole)
    part = config.graph.forward(tensors, whole[:, step : step + tile, step : step + tile])
    inner = slice(low, tile - high)
    wanted = reference[:, step : step + tile, step : step + tile][:, inner, inner]
    assert wanted.size
    assert np.abs(part[:, inner, inner] - wanted).max() < 1e-12
    # One pixel more and it would not: the halo is no larger than it must be.
    edge = np.abs(part - reference[:, step : step + tile, step : step + tile])
    assert edge[:, low - 1].max() > 1e-12


@pytest.mark.parametrize("name", ["unet++", "attention-unet", "probabilistic-unet", "transunet", "fcn-8s"])
def test_the_others_promise_nothing(name):
    assert not FAMILIES[name].geometry.shift_invariant
