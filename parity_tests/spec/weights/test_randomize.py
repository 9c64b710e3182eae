"""Initial weights: one draw for both twins."""

import numpy as np
import pytest

import unet_jax
import unet_torch
from unet_jax.weights import tensors as jax_tensors
from unet_spec import initial_tensors, preset, random_tensors

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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_random_tensors_are_random_everywhere_and_stay_in_their_ranges(dtype):
    graph = preset("same", widths=(8, 16, 32), conv_bias=True).graph
    tensors = random_tensors(graph, 3, dtype)
    assert list(tensors) == list(graph.params)
    for name, tensor in tensors.items():
        param = graph.params[name]
        assert (tensor.shape, tensor.dtype) == (param.shape, dtype)
        if tensor.size >= 8:
            assert len(np.unique(tensor)) > tensor.size // 2, name
        if param.std:
            continue
        low = 0.5 if param.constant else -0.5
        assert low <= tensor.min() <= tensor.max() < low + 1, name
    params = {name: param for name, param in graph.params.items() if not param.std}
    shifts = np.concatenate([tensors[name] for name, param in params.items() if not param.constant])
    scales = np.concatenate([tensors[name] for name, param in params.items() if param.constant])
    for values, middle in ((shifts, 0.0), (scales, 1.0)):
        assert abs(values.mean() - middle) < 0.1
        assert values.std() == pytest.approx(12**-0.5, rel=0.15)
    for first in (random_tensors, initial_tensors):
        same, other = first(graph, 3, dtype), first(graph, 4, dtype)
        np.testing.assert_array_equal(first(graph, 3, dtype)["head.weight"], same["head.weight"])
        assert (same["head.weight"] != other["head.weight"]).all()


@pytest.mark.parametrize("draw", [random_tensors, initial_tensors])
def test_weights_have_the_deviation_of_their_fan_in(draw):
    graph = preset("paper", widths=(16, 32)).graph
    for name, tensor in draw(graph, 0).items():
        if std := graph.params[name].std:
            assert abs(tensor.mean()) < 4 * std / tensor.size**0.5, name
            assert tensor.std() == pytest.approx(std, rel=4 / (2 * tensor.size) ** 0.5), name
        elif draw is initial_tensors:
            np.testing.assert_array_equal(tensor, graph.params[name].constant)
