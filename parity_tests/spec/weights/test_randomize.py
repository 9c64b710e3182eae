"""Initial weights: one draw for both twins."""

import numpy as np
import pytest

import unet_jax
import unet_torch
from unet_jax.weights import tensors as jax_tensors
from unet_spec import initial_tensors

from ...fixtures.family_cases import FAMILIES


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_a_new_network_is_the_same_in_both(config):
    initial = initial_tensors(config.graph, 5, np.float32)
    flax, pytorch = unet_jax.create(config, 5), unet_torch.create(config, 5)
    state = pytorch.state_dict()
    for name, tensor in jax_tensors(flax).items():
        assert np.array_equal(tensor, initial[name])
        assert np.array_equal(state[name].numpy(), initial[name])
    counted = sum(p.numel() for p in pytorch.parameters())
    assert counted == config.graph.parameter_count
    trained = {name for name, p in pytorch.named_parameters() if p.requires_grad}
    assert trained == {name for name, p in config.graph.params.items() if p.role == "parameter"}
