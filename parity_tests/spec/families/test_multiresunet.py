"""MultiResUNet without padding: the same network everywhere, and no zero is mixed in."""

import numpy as np
import pytest

from unet_spec import preset, random_tensors
from unet_spec.families.multiresunet import MultiResUNetConfig

from .stated import AXES, CHANNELS, NORM, check_configs, check_range

VALID = {
    "2d": preset("multiresunet", widths=(4, 5, 7), padding="valid"),
    "3d": preset("multiresunet", widths=(4, 6), padding="valid", spatial_dims=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(VALID))
def test_valid_multiresunet_is_one_network_everywhere(name):
    """Spec, both twins and ONNX; the same tensors as with same padding."""
    import torch

    import unet_jax
    import unet_torch
    from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
    from unet_spec import Checkpoint
    from unet_torch.runtime import TorchRuntime

    config = VALID[name]
    assert config.graph.params == config.replace(padding="same").graph.params
    tensors = random_tensors(config.graph, 0, np.float64)
    size = tuple(g.minimum + (a + 1) * g.step for a, g in enumerate(config.geometry.grids))
    x = np.random.default_rng(3).normal(1, 1, (1, *size, config.in_channels))
    wanted = config.graph.forward(tensors, x)
    assert wanted.shape[1:-1] == tuple(n - 2 * config.geometry.margin() for n in size)
    checkpoint = Checkpoint(config, tensors)
    with torch.inference_mode():
        found = TorchRuntime(unet_torch.from_checkpoint(checkpoint)).run(x)
    assert np.abs(found - wanted).max() < 1e-12 * np.abs(wanted).max()
    found = np.asarray(unet_jax.from_checkpoint(checkpoint)(x))  # the conftest switches float64 on
    assert found.dtype == np.float64
    assert np.abs(found - wanted).max() < 1e-12 * np.abs(wanted).max()
    single = {key: t.astype(np.float32) for key, t in tensors.items()}
    found = OnnxRuntime(onnx_bytes(emit_onnx(config, single))).run(x.astype(np.float32))
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_valid_multiresunet_pads_nothing():
    """The output of a larger image, cut, is the output of the part: no zero is mixed in, so no halo is lost."""
    config = VALID["2d"]
    geometry = config.geometry
    grid, margin = geometry.grid(), geometry.margin()
    assert geometry.shift_invariant
    assert geometry.halo() == (0, 0)
    tensors = random_tensors(config.graph, 0, np.float64)
    size = grid.minimum + grid.step
    whole = np.random.default_rng(1).normal(size=(1, size + grid.step, size + 2 * grid.step, config.in_channels))
    reference = config.graph.forward(tensors, whole)
    part = config.graph.forward(tensors, whole[:, grid.step : grid.step + size, grid.step : grid.step + size])
    inner = slice(grid.step, grid.step + size - 2 * margin)
    assert part.size
    assert np.abs(part - reference[:, inner, inner]).max() < 1e-12


SIZES = {
    "multiresunet": (7_262_750, 239, 244_908_648),
    "test multiresunet": (1_166, 62, 203_958),
    "test multiresunet-deep": (2_713, 113, 387_500),
    "test multiresunet-3d": (2_804, 62, 9_312_246),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [0.001], "momentum": [0.01]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("multiresunet", SIZES, CONSTANTS, elsewhere={"padding": {"valid"}})  # above


BASE = MultiResUNetConfig(widths=(4, 5))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        AXES,
        *NORM,
        ("alpha", [1.51], [1.49, 0.0], "above 6 / 4, the smallest width"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
