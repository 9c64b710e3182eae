"""Every narrow network of the battery in JAX: the shape of its output, and the output where no quick check of the
battery compares it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import unet_jax
from unet_spec import Checkpoint, random_tensors

from ...battery.cases import CASES
from ...battery.run import reason_not_to_run
from ...fixtures.family_twins import relative

NAMES = [name for name, case in CASES.items() if case.tier != "full"]
ELSE = [name for name in NAMES if reason_not_to_run(CASES[name], "forward.eval", slow=False)]


def sizes(config, more=0):
    return tuple(grid.minimum + (axis + more) * grid.step for axis, grid in enumerate(config.geometry.grids))


@pytest.mark.parametrize("name", NAMES)
def test_the_output_has_the_shape_that_the_spec_says(name):
    """Without a computation: the shapes alone."""
    config = CASES[name].config

    def output(x):
        model = unet_jax.create(config, None)
        model.eval()
        return model(x)

    x = jax.ShapeDtypeStruct((2, *sizes(config, 1), config.in_channels), jnp.float32)
    found = nnx.eval_shape(output, x)
    wanted = config.geometry.output_shape(sizes(config, 1))
    assert (found.shape, found.dtype) == ((2, *wanted, config.output_channels), jnp.float32)


@pytest.mark.parametrize("name", ELSE)
def test_the_output_of_a_small_image_is_that_of_the_spec(name):
    config = CASES[name].config
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0, np.float64))
    x = np.random.default_rng(1).normal(1, 1, (1, *sizes(config), config.in_channels))
    graphdef, state = nnx.split(unet_jax.from_checkpoint(checkpoint))
    found = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, x)
    assert relative(np.asarray(found), config.graph.forward(checkpoint.tensors, x)) < 1e-12
