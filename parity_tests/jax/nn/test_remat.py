"""Rematerialisation stores fewer values and does not change results."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.registry import create
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.objective import make_objective
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import initial_state
from unet_spec import PRESETS

from ...fixtures.family_cases import FAMILIES
from ..training.small_runs import WITHOUT_DROPOUT
from ..training.steps import PLAIN, arrays, batch, started


def residuals(settings, config):
    """The loss, its gradients, and the bytes that the forward pass stores for the backward pass."""
    graphdef, state, _ = started(settings, config)
    images, labels = batch()
    run = make_objective(graphdef, settings)

    def loss(params):
        return run(params, state["stats"], jnp.array(images), labels, None, jax.random.key(0))[0]

    value, gradients = jax.jit(jax.value_and_grad(loss))(state["params"])
    kept = jax.eval_shape(lambda p: jax.vjp(loss, p)[1], state["params"])
    return float(value), arrays(gradients), sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(kept))


@pytest.mark.slow
def test_rematerialisation_keeps_less_and_changes_nothing():
    config = WITHOUT_DROPOUT.replace(norm="batch")
    kept, again = (residuals(PLAIN.replace(remat=remat), config) for remat in (False, True))
    assert again[0] == pytest.approx(kept[0], rel=1e-6)
    for one, other in zip(again[1], kept[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert again[2] < kept[2] / 3


def residual_bytes(config, policy=None):
    """Bytes of the arrays that the forward pass stores for the backward pass; nothing is computed."""
    settings = TrainSettings().replace(augmentation=NONE, remat=policy == "blocks")
    graphdef, state = initial_state(create(config, 0), settings)
    size = tuple(grid.above(20) for grid in config.geometry.grids)
    images = jnp.zeros((1, *size, config.in_channels))
    labels = jnp.zeros((1, *config.geometry.output_shape(size)), jnp.int32)
    run = make_objective(graphdef, settings)

    def loss(params):
        return run(params, state["stats"], images, labels, None, jax.random.key(0))[0]

    function = jax.checkpoint(loss) if policy == "nothing" else loss
    back = jax.eval_shape(lambda p: jax.vjp(function, p)[1], state["params"])
    return sum(x.size * 4 for x in jax.tree.leaves(back))


@pytest.mark.parametrize(
    "name", ["paper", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES if name in PRESETS)]
)
def test_rematerialisation_keeps_the_outputs_of_the_blocks_in_every_network(name):
    config = FAMILIES[name] if name in FAMILIES else WITHOUT_DROPOUT.replace(norm="batch")
    least = residual_bytes(config, "nothing")  # the parameters and the images
    blocks, everything = residual_bytes(config, "blocks") - least, residual_bytes(config) - least
    assert 0 < blocks < everything / 2
