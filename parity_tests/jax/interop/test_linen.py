"""A Linen view of a network: the same logits, statistics and initial weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unet_jax
from unet_jax.interop.linen import linen_view, variables_of
from unet_spec import Checkpoint, InputError, preset, random_tensors

from ...battery.cases import CASES, one_of_each

CONFIG = preset("same", widths=(3, 4), in_channels=2, dropout=0.0)


@pytest.fixture
def model():
    return unet_jax.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


@pytest.fixture
def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 12, 2)), jnp.float32)


def same(a, b) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y), a, b)


def test_the_view_gives_the_modules_logits(model, image):
    view = linen_view(CONFIG)
    variables = variables_of(model)
    assert set(variables) == {"params", "batch_stats"}
    assert variables["params"]["encoder"]["0"]["conv1"]["kernel"].shape == (3, 3, 2, 3)
    np.testing.assert_array_equal(view.apply(variables, image), model(image))


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each())
def test_the_view_gives_every_networks_logits(name):
    config, extra = CASES[name].config, CASES[name].extra
    model = unet_jax.from_checkpoint(Checkpoint(config, random_tensors(config.graph, 0)))
    size = [grid.minimum + extra * grid.step for grid in config.geometry.grids]
    image = jnp.asarray(np.random.default_rng(0).normal(size=(1, *size, config.in_channels)), jnp.float32)
    np.testing.assert_array_equal(linen_view(config).apply(variables_of(model), image), model(image))


def test_training_changes_the_statistics_as_the_module_does(model, image):
    view, variables = linen_view(CONFIG), variables_of(model)
    logits, updates = view.apply(variables, image, train=True, mutable=["batch_stats"])
    model.train()
    np.testing.assert_array_equal(logits, model(image))
    assert set(updates) == {"batch_stats"}
    same(updates["batch_stats"], variables_of(model)["batch_stats"])
    old = variables["batch_stats"]["encoder"]["0"]["norm1"]["mean"]
    assert np.abs(updates["batch_stats"]["encoder"]["0"]["norm1"]["mean"] - old).max() > 1e-3
    with pytest.raises(InputError, match="mutable"):
        view.apply(variables, image, train=True)


@pytest.mark.slow
def test_a_linen_training_loop_runs_as_it_is(image):
    """Jitted init, gradient with auxiliary statistics, and optax, as in Flax's Linen examples."""
    view = linen_view(CONFIG)
    variables = jax.jit(view.init)(jax.random.key(0), image)
    labels = (image[..., 0] > 0).astype(jnp.int32)
    tx = optax.adam(1e-2)

    @jax.jit
    def step(params, stats, slots):
        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, new = view.apply(variables, image, train=True, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), new["batch_stats"]

        (value, stats_), grads = jax.value_and_grad(loss, has_aux=True)(params)
        moves, slots = tx.update(grads, slots)
        return optax.apply_updates(params, moves), stats_, slots, value

    params, stats = variables["params"], variables["batch_stats"]
    slots, losses = tx.init(params), []
    for _ in range(6):
        params, stats, slots, value = step(params, stats, slots)
        losses.append(float(value))
    assert losses[-1] < losses[0]
    back = view.to_checkpoint({"params": params, "batch_stats": stats})
    twin = unet_jax.from_checkpoint(back)
    np.testing.assert_array_equal(twin(image), view.apply({"params": params, "batch_stats": stats}, image))


def test_initial_weights_are_drawn_as_the_paper_says():
    variables = linen_view(preset("paper", widths=(16, 32))).init({"params": jax.random.key(1)})
    kernel = np.asarray(variables["params"]["encoder"]["1"]["conv2"]["kernel"])
    assert abs(kernel.std() / np.sqrt(2 / (9 * 32)) - 1) < 0.02
    assert not np.any(variables["params"]["encoder"]["1"]["conv2"]["bias"])
    assert "batch_stats" not in variables


def test_dropout_takes_its_numbers_from_the_callers_key():
    config = preset("paper", widths=(2, 3), dropout=0.5)
    view = linen_view(config)
    variables = view.init(jax.random.key(0))
    image = jnp.ones((1, 28, 28, 1))
    run = jax.jit(lambda key: view.apply(variables, image, train=True, rngs={"dropout": key}))
    a, b, c = (run(jax.random.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0


def test_foreign_variables_are_named(model, image):
    variables = variables_of(model)
    head = variables["params"].pop("head")
    with pytest.raises(InputError, match=r"params\.head\.\w+ is missing"):
        linen_view(CONFIG).apply(variables, image)
    with pytest.raises(InputError, match=r"it has no params\.extra\.kernel"):
        linen_view(CONFIG).apply(
            {**variables, "params": {**variables["params"], "head": head, "extra": {"kernel": head["kernel"]}}}, image
        )
