"""Every narrow network of the battery in PyTorch: its output is that of the spec."""

import numpy as np
import pytest
import torch

import unet_torch
from unet_spec import Checkpoint, random_tensors

from ...battery.cases import CASES
from ...fixtures.family_twins import from_torch, relative, to_torch

NAMES = [name for name, case in CASES.items() if case.tier != "full"]


@pytest.mark.parametrize("name", NAMES)
def test_the_output_of_a_small_image_is_that_of_the_spec(name):
    """A batch of two, the smallest image that fits, and another size on every axis."""
    config = CASES[name].config
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0, np.float64))
    size = [grid.minimum + axis * grid.step for axis, grid in enumerate(config.geometry.grids)]
    x = np.random.default_rng(1).normal(1, 1, (2, *size, config.in_channels))
    reference = config.graph.forward(checkpoint.tensors, x)
    model = unet_torch.from_checkpoint(checkpoint).eval()
    with torch.inference_mode():
        found = from_torch(model(to_torch(x)))
    assert found.shape[1:-1] == tuple(config.geometry.output_shape(tuple(size)))
    assert relative(found, reference) < 1e-12
