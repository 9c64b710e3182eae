"""FCN-8s: any size, and upsampling that interpolates and is not trained."""

import numpy as np
import pytest
from flax import nnx

import unet_jax
from unet_jax.runtime import JaxRuntime
from unet_spec import initial_tensors
from unet_spec.families.fcn8s import FCN8sConfig
from unet_torch.runtime import TorchRuntime

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import relative, twins
from .stated import CHANNELS, check_configs, check_range

EXACT = 1e-12


def test_fcn_takes_any_size():
    size = (7, 12)
    config = FAMILIES["fcn-8s"]
    flax, pytorch, tensors = twins(config)
    x = np.random.default_rng(7).normal(size=(1, *size, config.in_channels))
    reference = config.graph.forward(tensors, x)
    assert reference.shape == (1, *size, config.out_channels)
    assert relative(JaxRuntime(flax).run(x), reference) < EXACT
    assert relative(TorchRuntime(pytorch).run(x), reference) < EXACT


def test_fixed_upsampling_interpolates_and_is_not_trained():
    config = FAMILIES["fcn-8s"]
    tensors = initial_tensors(config.graph, 0, np.float64)
    op = config.graph["upscore2"].op
    ramp = np.arange(6.0)[None, :, None, None] * np.ones((1, 1, 6, config.out_channels))
    out = op.compute({"weight": tensors["upscore2.weight"]}, ramp)[0, :, 6, 0]
    np.testing.assert_allclose(np.diff(out[3:-3]), 0.5)  # away from the edges a ramp stays a ramp, at half the slope
    flax = unet_jax.create(config)
    names = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(flax, nnx.Param))}
    assert not any(name.startswith("up") for name in names)
    learned = {
        ".".join(map(str, path))
        for path, _ in nnx.to_flat_state(nnx.state(unet_jax.create(FAMILIES["fcn-8s-learned"]), nnx.Param))
    }
    assert {"upscore2.kernel", "upscore8.kernel"} <= learned


SIZES = {
    "fcn-8s": (134_489_759, 49, 14_487_765_072),
    "narrow fcn-8s": (780_391, 49, 245_549_640),
    "test fcn-8s": (5_893, 47, 7_573_506),
    "test fcn-8s-learned": (2_653, 49, 4_300_239),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"rate": [0.5]},
    "test fcn-8s": {},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("fcn-8s", SIZES, CONSTANTS)


BASE = FCN8sConfig(widths=(2, 2, 3, 3, 3), hidden=4)


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        ("widths", [(1, 1, 1, 1, 1)], [(1, 1, 1, 1), (1, 1, 1, 1, 1, 1), (1, 1, 1, 0, 1)], "five numbers above 0"),
        ("hidden", [1], [0], "at least 1"),
        ("dropout", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
