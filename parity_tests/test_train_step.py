"""The training step: one warp for all, no recompilation, donated buffers, and what each setting does, by formula."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from parity_tests.family_cases import FAMILIES
from unet_data import Sampler, membranes
from unet_jax.augment import NONE, Augmentation, augment
from unet_jax.losses import cross_entropy, dice_loss, focal_loss, tversky_loss
from unet_jax.objective import make_objective
from unet_jax.recipes import RECIPES
from unet_jax.settings import TrainSettings
from unet_jax.step import initial_state, make_step
from unet_jax.unet import UNet
from unet_jax.zoo import create
from unet_spec import FAMILY_PRESETS, InputError, preset

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
PLAIN = TrainSettings(
    steps=100, tile=28, batch=2, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0,
    weight_decay=0.0, clip=0.0, augmentation=NONE,
)  # fmt: skip


def batch(size=2, seed=0, weighted=False):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(size, 28, 28, 1)).astype(np.float32)
    labels = (images[..., 0] > 0).astype(np.int32)
    return (images, labels, rng.uniform(0, 3, labels.shape).astype(np.float32)) if weighted else (images, labels)


def started(settings, config=CONFIG):
    graphdef, state = initial_state(UNet(config, 0), settings)
    return graphdef, state, make_step(graphdef, settings, (28, 28), jnp.zeros(1), jnp.ones(1))


def arrays(tree):
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def objective(graphdef, settings, state, *given):
    weights = given[2] if len(given) == 3 else None
    run = make_objective(graphdef, settings)
    return jax.jit(jax.value_and_grad(run, has_aux=True))(
        state["params"], state["stats"], jnp.array(given[0]), given[1], weights, jax.random.key(0)
    )


def test_a_step_is_gradient_descent_and_the_averages_are_by_formula():
    settings = replace(PLAIN, ema=0.5, log_every=2)
    graphdef, state, step = started(settings, CONFIG.replace(norm="batch"))
    mean, losses = arrays(state["params"]) + arrays(state["stats"]), []
    for number in range(3):
        given = batch(seed=number)
        (loss, stats), grads = objective(graphdef, settings, state, *given)
        wanted = [p - 0.1 * g for p, g in zip(arrays(state["params"]), arrays(grads), strict=True)]
        decay = min(0.5, (1 + number) / (10 + number))
        now = wanted + arrays(stats)
        mean = [decay * a + (1 - decay) * x for a, x in zip(mean, now, strict=True)]
        state, found = step(state, *given)
        losses.append(float(found))
        assert losses[-1] == pytest.approx(float(loss), rel=1e-5)
        for one, other in zip(arrays(state["params"]), wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        averages = arrays(state["ema"]["params"]) + arrays(state["ema"]["stats"])
        for one, other in zip(averages, mean, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        # the sum of the losses since the last line of the log, which came after every second step
        assert float(state["loss"]) == pytest.approx(sum(losses[number - number % 2 :]), rel=1e-5)
    assert step._cache_size() == 1


def test_the_state_is_donated():
    _, state, step = started(PLAIN)
    before = jax.tree.leaves(state["params"])
    after, _ = step(state, *batch())
    assert all(leaf.is_deleted() for leaf in before)
    assert int(after["step"]) == 1


def test_parts_of_a_batch_add_up_to_the_whole():
    """Without a norm, and with as many counted pixels in each part, the gradient is that of the whole batch."""
    found = []
    for accumulate in (1, 2):
        _, state, step = started(replace(PLAIN, batch=4, accumulate=accumulate))
        state, loss = step(state, *batch(4))
        found.append([np.array(loss), *arrays(state["params"])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_bfloat16_keeps_float32_weights_and_follows_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = replace(PLAIN, precision=precision)
        graphdef, state, step = started(settings, CONFIG.replace(norm="batch"))
        (loss, _), grads = objective(graphdef, settings, state, *batch())
        assert loss.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
        for number in range(3):
            state, loss = step(state, *batch(seed=number))
        assert {a.dtype for a in arrays((state["params"], state["stats"]))} == {np.dtype("float32")}
        losses[precision] = float(loss)
    assert losses["bfloat16"] != losses["float32"]  # else nothing was rounded
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def residuals(settings, config):
    graphdef, state, _ = started(settings, config)
    images, labels = batch()
    run = make_objective(graphdef, settings)
    loss, back = jax.vjp(
        lambda p: run(p, state["stats"], jnp.array(images), labels, None, jax.random.key(0))[0], state["params"]
    )
    return (
        float(loss),
        arrays(back(jnp.ones((), jnp.float32))),
        sum(x.nbytes for x in jax.tree.leaves(back) if hasattr(x, "nbytes")),
    )


def test_rematerialisation_keeps_less_and_changes_nothing():
    config = CONFIG.replace(norm="batch")
    kept, again = (residuals(replace(PLAIN, remat=remat), config) for remat in (False, True))
    assert again[0] == pytest.approx(kept[0], rel=1e-6)
    for one, other in zip(again[1], kept[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert again[2] < kept[2] / 3


def residual_bytes(config, policy=None):
    """Of the arrays that the forward pass keeps for the backward one; nothing is computed."""
    settings = TrainSettings(augmentation=NONE, remat=policy == "blocks")
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


@pytest.mark.parametrize("name", ["paper", *(name for name in FAMILIES if name in FAMILY_PRESETS)])
def test_rematerialisation_keeps_the_outputs_of_the_blocks_in_every_network(name):
    config = FAMILIES[name] if name in FAMILIES else CONFIG.replace(norm="batch")
    least = residual_bytes(config, "nothing")  # the parameters and the images
    blocks, everything = residual_bytes(config, "blocks") - least, residual_bytes(config) - least
    assert 0 < blocks < everything / 2


def test_the_loss_is_the_one_that_is_named():
    logits = jnp.array(np.random.default_rng(0).normal(size=(1, 4, 4, 2)))
    labels, weights = jnp.arange(16).reshape(1, 4, 4) % 2, jnp.arange(16.0).reshape(1, 4, 4)
    from unet_jax.objective import loss_function

    both = loss_function(replace(PLAIN, loss="cross_entropy+dice", smoothing=0.1))(logits, labels, weights)
    assert both == cross_entropy(logits, labels, weights, smoothing=0.1) + dice_loss(logits, labels)
    expected = {
        "cross_entropy": cross_entropy(logits, labels, weights),
        "focal": focal_loss(logits, labels, weights),
        "dice": dice_loss(logits, labels),
        "tversky": tversky_loss(logits, labels),
    }
    assert len({float(value) for value in expected.values()}) == len(expected)
    for name, value in expected.items():
        assert loss_function(replace(PLAIN, loss=name))(logits, labels, weights) == value
    sharp = loss_function(replace(PLAIN, loss="focal", focal_gamma=0.0))(logits, labels, weights)
    assert sharp == focal_loss(logits, labels, weights, gamma=0.0)
    uneven = loss_function(replace(PLAIN, loss="tversky", tversky_alpha=0.1, tversky_beta=0.6))(logits, labels, weights)
    assert uneven == tversky_loss(logits, labels, alpha=0.1, beta=0.6)


def test_after_a_bad_step_the_state_stays_the_last_good_one():
    _, state, step = started(PLAIN)
    state, _ = step(state, *batch())
    good = arrays((state["params"], state["opt"]))
    images, labels = batch(seed=1)
    state, loss = step(state, np.where(images > 3, np.nan, images * np.nan), labels)
    assert not np.isfinite(loss)
    state, _ = step(state, *batch(seed=2))
    assert int(state["failed"]) == 1
    assert int(state["step"]) == 1
    for one, other in zip(arrays((state["params"], state["opt"])), good, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_variance_that_overflows_fails_the_step_though_its_loss_does_not():
    """The normalised map is then 0, and so is the gradient: only the running statistics would be lost."""
    graphdef, state, step = started(PLAIN, CONFIG.replace(norm="batch"))
    images, labels = batch()
    given = images * np.float32(1e20), labels
    (loss, stats), grads = objective(graphdef, PLAIN, state, *given)
    assert all(np.isfinite(a).all() for a in (np.asarray(loss), *arrays(grads)))
    assert not all(np.isfinite(a).all() for a in arrays(stats))
    state, _ = step(state, *given)
    assert int(state["failed"]) == 0
    assert all(np.isfinite(a).all() for a in arrays(state["stats"]))


@pytest.mark.parametrize("dims", [2, 3])
def test_image_label_and_weight_share_one_warp(dims):
    how = Augmentation(elastic=2.0, rotation=180.0, mirror=True, contrast=0.0, brightness=0.0)
    tile = (20, 24) if dims == 2 else (8, 12, 16)
    window = how.window(tile)
    ramp = np.indices(window).sum(0).astype(np.float32)  # one step of a pixel changes it by at most one an axis
    images = np.stack([ramp, ramp])[..., None]
    warp = jax.jit(lambda k: augment(k, images, images[..., 0].astype(np.int32), tile, how, images[..., 0]))
    for seed in range(3):
        image, label, weight = warp(jax.random.key(seed))
        assert image.shape == (2, *tile, 1)
        np.testing.assert_array_equal(image[..., 0], weight)
        assert np.abs(np.asarray(label) - np.asarray(weight)).max() <= dims / 2 + 1e-3
        assert np.abs(np.asarray(image[0]) - np.asarray(image[1])).max() > 1  # each image has its own


def test_recipes_hold_what_they_say():
    paper, modern = RECIPES["paper-2015"], RECIPES["modern"]
    s = paper.settings
    assert (s.border_weight, s.border_sigma, s.balance, s.momentum, s.batch) == (10, 5, True, 0.99, 1)
    assert (s.augmentation.elastic, s.augmentation.rotation > 0, s.augmentation.brightness > 0) == (10, True, True)
    assert paper.network["dropout"] == 0.5
    assert (modern.settings.loss, modern.settings.balance) == ("cross_entropy+dice", False)
    assert modern.settings.ema
    assert modern.settings.smoothing
    assert modern.network["norm"] == "batch"
    assert modern.settings.batch > 1  # of one tile, its statistics are not those in use
    for recipe in RECIPES.values():
        assert TrainSettings.from_dict(recipe.settings.to_dict(), "here") == recipe.settings


@pytest.mark.parametrize(
    "changes",
    [{"loss": "hinge"}, {"border_sigma": 0.0}, {"ema": 1.0}, {"batch": 3, "accumulate": 2}, {"precision": "float16"}],
)
def test_refusals(changes):
    with pytest.raises(InputError):
        replace(PLAIN, **changes)


@pytest.mark.slow
def test_memory_stays_flat_over_two_thousand_steps():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    settings = replace(PLAIN, steps=2000)
    _, state, step = started(settings)
    sampler = Sampler(membranes(4, 64, 0), (28, 28), (12, 12), 2, 0)
    seen = []
    for number in range(2000):
        state, loss = step(state, *sampler.batch(number))
        if number % 200 == 199:
            jax.block_until_ready(loss)
            seen.append(resident())
    assert seen[-1] - seen[1] < 8 * 2**20, [s / 2**20 for s in seen]
    assert step._cache_size() == 1


def test_augmentation_keeps_the_dtypes():
    """The tests allow float64, as users may, and JAX then draws in it where nothing else is said."""
    how = Augmentation()
    window = how.window((28, 28))
    given = (
        jnp.ones((2, *window, 1), jnp.float32),
        jnp.ones((2, *window), jnp.int32),
        jnp.ones((2, *window), jnp.float32),
    )
    key = jax.random.key(0)
    found = jax.eval_shape(lambda x, y, w: augment(key, x, y, (28, 28), how, w), *given)
    assert [(x.shape, x.dtype) for x in found] == [((2, 28, 28, *g.shape[3:]), g.dtype) for g in given]
