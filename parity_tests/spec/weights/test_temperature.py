"""A temperature in the weights divides the logits, or is refused."""

import numpy as np
import pytest

from unet_spec import Checkpoint, Graph, InputError, Node, preset, random_tensors
from unet_spec.families.ensemble import EnsembleConfig
from unet_spec.ops import Input, StdConv
from unet_spec.weights.ensemble import join
from unet_spec.weights.temperature import scaled_tensors, with_temperature

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import image

REFUSED = {name for name in FAMILIES if name.startswith("multiresunet")} | {"monai-unet", "monai-unet-3d"}


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - REFUSED))
def test_the_logits_are_divided(name):
    config = FAMILIES[name]
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0, np.float64))
    before = dict(checkpoint.tensors)
    cold = with_temperature(checkpoint, 2.5)
    x = image(config, batch=1)
    logits = config.graph.forward(checkpoint.tensors, x)
    found = config.graph.forward(cold.tensors, x)
    np.testing.assert_allclose(found, logits / 2.5, atol=1e-12 * np.abs(logits).max())
    assert all(checkpoint.tensors[n] is t for n, t in before.items())
    assert set(scaled_tensors(config.graph)) == {n for n in before if cold.tensors[n] is not before[n]}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_network_without_such_weights_is_refused_and_an_ensemble_of_it_is_not(name):
    config = FAMILIES[name]
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0, np.float64))
    with pytest.raises(InputError, match=f"the logits of {config.architecture} cannot be scaled"):
        with_temperature(checkpoint, 2.0)
    alone = join([checkpoint]).checkpoint
    assert isinstance(alone.config, EnsembleConfig)
    x = image(config, batch=1)
    hot = with_temperature(alone, 2.0)
    np.testing.assert_allclose(
        hot.config.graph.forward(hot.tensors, x), alone.config.graph.forward(alone.tensors, x) / 2, atol=1e-12
    )


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_above_zero(temperature):
    config = FAMILIES["unet++"]
    with pytest.raises(InputError, match="it must be a number above 0"):
        with_temperature(Checkpoint(config, random_tensors(config.graph, 0)), temperature)


def test_a_standardised_kernel_takes_no_factor():
    head = Node("head", StdConv(1, 2, (1, 1), (1, 1), (0, 0), False), ("input",))
    with pytest.raises(InputError, match="head is conv"):
        scaled_tensors(Graph((Node("input", Input(1), ()), head), 2))


def test_a_distance_stays_as_it_is():
    config = preset("same", widths=(2, 3), distance_head=True)
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0, np.float64))
    cold = with_temperature(checkpoint, 2.5)
    x = image(config, batch=1)
    before, after = (config.graph.forward(c.tensors, x) for c in (checkpoint, cold))
    np.testing.assert_allclose(after[..., :2], before[..., :2] / 2.5)
    np.testing.assert_array_equal(after[..., 2], before[..., 2])
