"""The message names the layer in which a number overflows, forward or backward."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax import registry as zoo
from unet_jax.training.run.diagnose import first_not_finite
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import initial_state
from unet_spec import preset

from ....battery.cases import CASES, one_of_each
from ..small_runs import SMALL, WITHOUT_DROPOUT

OTHERS = [name for name in one_of_each() if CASES[name].config.architecture != "unet"]


@jax.custom_vjp
def bad_backwards(x):
    """The identity, with a gradient of NaN."""
    return x


bad_backwards.defvjp(lambda x: (x, None), lambda _, g: (jnp.full_like(g, jnp.nan),))


def spoil(model, layer):
    """Adds `bad_backwards` after one layer through a subclass, since nnx.split and nnx.merge keep the class."""
    module = model
    for part in layer.split("."):
        module = module[int(part)] if part.isdigit() else getattr(module, part)
    kind = type(module)

    def call(self, *args, **kwargs):
        return bad_backwards(kind.__call__(self, *args, **kwargs))

    module.__class__ = type("Spoilt", (kind,), {"__call__": call})


def named(config, layer):
    """The layer in the message if the gradient becomes NaN at the output of `layer`."""
    model, settings = zoo.create(config, 0), TrainSettings()
    spoil(model, layer)
    graphdef, state = initial_state(model, settings)
    size = tuple(grid.above(8) + grid.step for grid in config.geometry.grids)
    images = jax.random.normal(jax.random.key(0), (1, *size, config.in_channels), jnp.float32)
    labels = jnp.zeros((1, *config.geometry.output_shape(size)), jnp.int32)
    printed = first_not_finite(
        graphdef, settings, state["params"], state["stats"], images, labels, None, jax.random.key(0)
    )
    assert printed.where.startswith("the gradient of ")
    assert not printed.weights_too_large
    return printed.where.removeprefix("the gradient of ").rpartition(".")[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        "encoder.0.conv2",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("head", "decoder.1.block.norm1", "decoder.0.up", "encoder.2.conv1")
        ),
    ],
)
def test_the_layer_where_the_backward_pass_goes_wrong(layer):
    """All layers before it in the order of the calls also fail."""
    assert named(preset("paper", widths=(2, 4, 8), norm="batch"), layer) == layer


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in OTHERS])
def test_in_every_architecture(name):
    """The second-to-last convolution that the output depends on."""
    config = CASES[name].config
    layer = [node.name for node in config.graph.inference if node.op.kind == "conv"][-2]
    assert named(config, layer) == layer


def test_it_is_looked_for_in_the_parts_of_the_step(monkeypatch):
    """The same parts as in a step with `accumulate`: same images, same random numbers, no more memory."""
    import unet_jax.training.run.diagnose

    seen = []
    own = unet_jax.training.run.diagnose.model_loss

    def watching(model, settings, loss=None):
        return lambda *batch: seen.append(batch) or own(model, settings, loss)(*batch)

    monkeypatch.setattr(unet_jax.training.run.diagnose, "model_loss", watching)
    settings, key = TrainSettings().replace(batch=6, accumulate=3), jax.random.key(1)
    graphdef, state = initial_state(zoo.create(preset("paper", widths=(2, 4)), 0), settings)
    images = jax.random.normal(jax.random.key(0), (6, 28, 28, 1), jnp.float32)
    labels = jnp.arange(6)[:, None, None] * jnp.ones((28, 28), jnp.int32) % 2
    arguments = (graphdef, settings, state["params"], state["stats"], images, labels)
    assert first_not_finite(*arguments, None, key).where.startswith("the weights after its update")
    parts = [x.reshape(-1, 3, *x.shape[1:]).swapaxes(0, 1) for x in (images, labels)]
    assert len(seen) == 3
    for index, (x, y, weights, drop) in enumerate(seen):
        assert np.array_equal(x, parts[0][index])
        assert np.array_equal(y, parts[1][index])
        assert weights is None
        assert drop == jax.random.fold_in(key, index)
    weights = jnp.ones((6, 28, 28)).at[4].set(jnp.inf)  # in the second part
    seen.clear()
    assert first_not_finite(*arguments, weights, key).where.startswith("the loss")
    assert len(seen) == 2


EIGHT_STEPS = SMALL.replace(steps=8, log_every=2, validate_every=4)


def test_the_layer_that_is_named_is_the_one_that_overflows():
    """Plants one huge kernel. Everything before it is finite."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from unet_jax import UNet
    from unet_jax.training.run.diagnose import first_not_finite
    from unet_jax.training.step import initial_state

    images, labels = (
        jax.random.normal(jax.random.key(0), (1, 28, 28, 1), jnp.float32),
        jnp.zeros((1, 28, 28), jnp.int32),
    )
    for layer in ("encoder.0.conv2", "decoder.0.up", "decoder.0.block.conv1", "head"):
        model = UNet(WITHOUT_DROPOUT, 0)
        module = model
        for part in layer.split("."):
            module = module[int(part)] if part.isdigit() else getattr(module, part)
        assert isinstance(module, nnx.Conv | nnx.ConvTranspose)
        module.kernel[...] = jnp.full_like(module.kernel[...], 3e38)
        module.bias[...] = jnp.full_like(module.bias[...], 3e38)
        graphdef, state = initial_state(model, EIGHT_STEPS)
        arguments = (state["params"], state["stats"], images, labels, None, jax.random.key(0))
        assert first_not_finite(graphdef, EIGHT_STEPS, *arguments) == (f"the output of {layer}", True)
    bad = (state["params"], state["stats"], images.at[0, 3, 3].set(jnp.nan), labels, None, jax.random.key(0))
    assert first_not_finite(graphdef, EIGHT_STEPS, *bad) == ("the images themselves", False)
