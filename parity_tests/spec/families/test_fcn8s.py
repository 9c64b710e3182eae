"""FCN-8s: any size, and upsampling that interpolates and is not trained."""

import numpy as np
from flax import nnx

import unet_jax
from unet_jax.runtime import JaxRuntime
from unet_spec import initial_tensors
from unet_torch.runtime import TorchRuntime

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import relative, twins

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
