"""The objective of a step: each part of a batch has its own dropout, statistics and weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import unet_jax
from unet_data import pack_masks
from unet_jax import UNet
from unet_jax.losses import (
    cross_entropy,
    dice_loss,
    focal_loss,
    overlapping_cross_entropy,
    overlapping_dice_loss,
    tversky_loss,
)
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.objective import loss_function, make_objective
from unet_jax.training.run.values import RunValues
from unet_jax.training.settings import OVERLAPPING_LOSSES, TrainSettings
from unet_jax.training.step import initial_state, make_prepare, make_step

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import image
from .small_runs import WITHOUT_DROPOUT
from .steps import PLAIN


def labelled(config):
    x = image(config)
    return x, np.random.default_rng(8).integers(0, config.classes, x.shape[:-1])


@pytest.mark.parametrize(
    "name",
    [
        "probabilistic-unet",
        "sa-unet-drop",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("unet++-deep", "fcn-8s")),
    ],
)
def test_the_trainers_objective_falls(name):
    """Ten steps of plain gradient descent through the objective that `unet train` differentiates."""
    config = FAMILIES[name]
    model = unet_jax.create(config, 0)
    x, y = labelled(config)
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(x.mean(-1) > 1, jnp.int32)
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    gradient = jax.jit(jax.value_and_grad(make_objective(graphdef, TrainSettings()), has_aux=True))
    before, values = stats, []
    for _ in range(10):
        (value, stats), grads = gradient(params, stats, x, y, None, jax.random.key(0))
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, grads)
        values.append(float(value))
    assert values[-1] < values[0]
    if name == "fcn-8s":  # the fixed interpolation is stored with the running statistics and does not change
        same = jax.tree.map(lambda a, b: bool((a == b).all()), before, stats)
        assert jax.tree.leaves(same) == [True] * 3


SGD = TrainSettings().replace(
    steps=100, tile=28, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
    clip=None, augmentation=NONE,
)  # fmt: skip
RNG = np.random.default_rng(0)


def some_images(size):
    images = RNG.normal(size=(size, 28, 28, 1)).astype(np.float32)
    return images, (images[..., 0] > 0).astype(np.int32)


def objective_of(settings, config):
    graphdef, state = initial_state(UNet(config, 0), settings)
    values = RunValues.of(settings, [0.0], [1.0])
    step, prepare = make_step(graphdef, settings, (28, 28)), partial(make_prepare(settings, (28, 28)), values)
    objective = jax.jit(make_objective(graphdef, settings))
    return state, lambda state, *given: step(state, values, *given), prepare, objective


def test_each_part_of_a_batch_has_its_own_dropout():
    settings = SGD.replace(batch=2, accumulate=2)
    state, step, prepare, objective = objective_of(settings, WITHOUT_DROPOUT.replace(dropout=0.5))
    image, label = some_images(1)
    given = np.concatenate([image, image]), np.concatenate([label, label])
    key = prepare(jnp.int32(0), given)[3]
    losses = [
        float(objective(state["params"], state["stats"], image, label, None, jax.random.fold_in(key, part))[0])
        for part in range(2)
    ]
    assert abs(losses[0] - losses[1]) > 1e-3
    assert float(step(state, *given)[1]) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.slow
def test_the_statistics_go_from_part_to_part():
    settings = SGD.replace(batch=4, accumulate=2)
    state, step, prepare, objective = objective_of(settings, WITHOUT_DROPOUT.replace(norm="batch"))
    images, labels = some_images(4)
    key, stats = prepare(jnp.int32(0), (images, labels))[3], state["stats"]
    for part in range(2):  # parts are interleaved images
        own = slice(part, None, 2)
        _, stats = objective(state["params"], stats, images[own], labels[own], None, jax.random.fold_in(key, part))
    wanted = [np.array(x) for x in jax.tree.leaves(stats)]
    for one, other in zip(jax.tree.leaves(step(state, images, labels)[0]["stats"]), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_the_weights_of_a_part_are_those_of_its_images():
    """A loss is divided by the sum of its weights, so mismatched parts of images and weights change it."""
    settings = SGD.replace(batch=4, accumulate=2)
    state, step, _, objective = objective_of(settings, WITHOUT_DROPOUT)
    images, labels = some_images(4)
    weights = RNG.uniform(0, 3, labels.shape).astype(np.float32) * np.array([1, 5, 0.1, 9], np.float32)[:, None, None]
    parts = [a[[0, 2, 1, 3]].reshape(2, 2, *a.shape[1:]) for a in (images, labels, weights)]
    both = zip(*parts, strict=True)
    losses = [float(objective(state["params"], state["stats"], *part, jax.random.key(0))[0]) for part in both]
    assert float(step(state, images, labels, weights)[1]) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("frozen", [[], ["encoder"]])
def test_bfloat16_is_what_the_convolutions_compute_in(frozen):
    settings, model = SGD.replace(precision="bfloat16"), UNet(WITHOUT_DROPOUT, 0)
    unet_jax.freeze(model, frozen)
    graphdef, state = initial_state(model, settings)
    images, labels = some_images(1)
    made = jax.make_jaxpr(make_objective(graphdef, settings))(
        state["params"], state["stats"], jnp.asarray(images), jnp.asarray(labels), None, jax.random.key(0)
    )
    found = [eqn for eqn in equations(made.jaxpr) if eqn.primitive.name in ("conv_general_dilated", "dot_general")]
    assert len(found) >= 7
    assert {v.aval.dtype for eqn in found for v in eqn.invars} == {jnp.dtype("bfloat16")}


def equations(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_the_loss_is_the_one_that_is_named():
    logits = jnp.array(np.random.default_rng(0).normal(size=(1, 4, 4, 2)))
    labels, weights = jnp.arange(16).reshape(1, 4, 4) % 2, jnp.arange(16.0).reshape(1, 4, 4)
    from unet_jax.training.objective import loss_function

    both = loss_function(PLAIN.replace(loss="cross_entropy+dice", smoothing=0.1))(logits, labels, weights)
    assert both == cross_entropy(logits, labels, weights, smoothing=0.1) + dice_loss(logits, labels)
    expected = {
        "cross_entropy": cross_entropy(logits, labels, weights),
        "focal": focal_loss(logits, labels, weights),
        "dice": dice_loss(logits, labels),
        "tversky": tversky_loss(logits, labels),
    }
    assert len({float(value) for value in expected.values()}) == len(expected)
    for name, value in expected.items():
        assert loss_function(PLAIN.replace(loss=name))(logits, labels, weights) == value
    sharp = loss_function(PLAIN.replace(loss="focal", focal_gamma=0.0))(logits, labels, weights)
    assert sharp == focal_loss(logits, labels, weights, gamma=0.0)
    uneven = loss_function(PLAIN.replace(loss="tversky", tversky_alpha=0.1, tversky_beta=0.6))(logits, labels, weights)
    assert uneven == tversky_loss(logits, labels, alpha=0.1, beta=0.6)


@pytest.mark.parametrize("loss", OVERLAPPING_LOSSES)
def test_classes_that_overlap_are_learnt_from_their_masks(loss):
    rng = np.random.default_rng(3)
    logits, masks = rng.normal(size=(2, 6, 7, 3)), rng.integers(0, 2, (2, 6, 7, 3)).astype(np.int8)
    masks[0, 1, 2] = -1
    of = loss_function(TrainSettings().replace(loss=loss, labels="overlapping"))
    counted = jnp.asarray((masks >= 0).all(-1), jnp.float32)
    parts = {"cross_entropy": overlapping_cross_entropy, "dice": overlapping_dice_loss}
    expected = sum(parts[name](jnp.asarray(logits), jnp.asarray(masks > 0), counted) for name in loss.split("+"))
    labels = jnp.asarray(pack_masks(masks))
    assert float(of(jnp.asarray(logits), labels, None)) == pytest.approx(float(expected), rel=1e-6)
    gradient = jax.grad(lambda z: of(z, labels, None))(jnp.asarray(logits))
    assert not gradient[0, 1, 2].any()  # does not count
    assert (np.asarray(gradient)[masks[..., 0] >= 0] != 0).mean() > 0.5
