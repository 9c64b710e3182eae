"""Lowered and half-precision networks of every architecture."""

import numpy as np
import pytest

from unet_export import simulate
from unet_export.precision.formats import PrecisionRecipe, lower_for
from unet_spec import PRESETS, random_tensors

from ...fixtures.family_cases import FAMILIES

ONE_OF_EACH = [name for name in FAMILIES if name in PRESETS]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_lowered_network_is_the_same_and_halves_are_near(name):
    """Standardised kernels and folded norms in float64; then the computation of a float16 file."""
    config = FAMILIES[name]
    tensors = random_tensors(config.graph, 0, np.float64)
    size = tuple(g.minimum + g.step for g in config.geometry.grids)
    x = np.random.default_rng(0).normal(size=(1, *size, config.in_channels))
    wanted = config.graph.forward(tensors, x)
    network = lower_for("fp16", config.graph, tensors)
    assert "std_conv" not in {node.op.kind for node in network.graph}
    assert np.abs(network.graph.forward(network.tensors, x) - wanted).max() < 1e-12 * np.abs(wanted).max()
    half = simulate(network, PrecisionRecipe("fp16"), x.astype(np.float32))
    assert 0 < np.abs(half - wanted).max() < 0.05 * np.abs(wanted).max()
