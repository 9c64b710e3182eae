"""A training step compared with formulas, in parts, in bfloat16, and after a failure."""

import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unet_data import Sampler, membranes
from unet_data.memory import resident
from unet_jax import UNet
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.objective import make_objective
from unet_jax.training.run.values import RunValues, schedule_span
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import (
    forget_shared_steps,
    initial_state,
    learning_rate,
    make_prepare,
    make_step,
    optimizer,
    shared_step,
)

from .small_runs import WITHOUT_DROPOUT
from .steps import PLAIN, arrays, batch, started


def objective(graphdef, settings, state, *given):
    weights = given[2] if len(given) == 3 else None
    run = make_objective(graphdef, settings)
    return jax.jit(jax.value_and_grad(run, has_aux=True))(
        state["params"], state["stats"], jnp.array(given[0]), given[1], weights, jax.random.key(0)
    )


def test_a_step_is_gradient_descent_and_the_averages_are_by_formula():
    settings = PLAIN.replace(ema=0.5, log_every=2)
    graphdef, state, step = started(settings, WITHOUT_DROPOUT.replace(norm="batch"))
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
        # the sum of the losses since the last line of the log, which is written every second step
        assert float(state["loss"]) == pytest.approx(sum(losses[number - number % 2 :]), rel=1e-5)
    assert step.count_compiled() == 1


def test_the_state_is_donated():
    _, state, step = started(PLAIN)
    before = jax.tree.leaves(state["params"])
    after, _ = step(state, *batch())
    assert all(leaf.is_deleted() for leaf in before)
    assert int(after["step"]) == 1


def test_parts_of_a_batch_add_up_to_the_whole():
    """Without a norm, and with equally many counted pixels in each part, the gradient equals that of the whole
    batch."""
    found = []
    for accumulate in (1, 2):
        _, state, step = started(PLAIN.replace(batch=4, accumulate=accumulate))
        state, loss = step(state, *batch(4))
        found.append([np.array(loss), *arrays(state["params"])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_bfloat16_keeps_float32_weights_and_follows_float32():
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = PLAIN.replace(precision=precision)
        graphdef, state, step = started(settings, WITHOUT_DROPOUT.replace(norm="batch"))
        (loss, _), grads = objective(graphdef, settings, state, *batch())
        assert loss.dtype == jnp.float32
        assert {leaf.dtype for leaf in jax.tree.leaves(grads)} == {jnp.dtype("float32")}
        for number in range(3):
            state, loss = step(state, *batch(seed=number))
        assert {a.dtype for a in arrays((state["params"], state["stats"]))} == {np.dtype("float32")}
        losses[precision] = float(loss)
    assert losses["bfloat16"] != losses["float32"]  # otherwise nothing was rounded
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


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
    """The normalised map and its gradient are then 0; only the running statistics would be damaged."""
    graphdef, state, step = started(PLAIN, WITHOUT_DROPOUT.replace(norm="batch"))
    images, labels = batch()
    given = images * np.float32(1e20), labels
    (loss, stats), grads = objective(graphdef, PLAIN, state, *given)
    assert all(np.isfinite(a).all() for a in (np.asarray(loss), *arrays(grads)))
    assert not all(np.isfinite(a).all() for a in arrays(stats))
    state, _ = step(state, *given)
    assert int(state["failed"]) == 0
    assert all(np.isfinite(a).all() for a in arrays(state["stats"]))


@pytest.mark.slow
def test_memory_stays_flat_over_two_thousand_steps():
    """In a separate process, where nothing else allocates or frees memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seen, programs = pool.submit(two_thousand_steps).result()
    assert seen[-1] - seen[1] < 8 * 2**20, [s / 2**20 for s in seen]
    assert programs == 1


def two_thousand_steps() -> tuple[list[int], int]:
    """Resident bytes after every 200 steps, and the number of compiled programs."""
    _, state, step = started(PLAIN.replace(steps=2000))
    sampler = Sampler(membranes(4, 64, 0), (28, 28), (12, 12), 2, 0)
    seen = []
    for number in range(2000):
        state, loss = step(state, *sampler.batch(number))
        if number % 200 == 199:
            jax.block_until_ready(loss)
            seen.append(resident())
    return seen, step.count_compiled()


SHORT = TrainSettings().replace(steps=3, tile=28, log_every=1, validate_every=9, learning_rate=0.01, augmentation=NONE)


def one_step(settings, size=3.0):
    """The optimizer's update for a gradient of ones."""
    update = optimizer(settings.optimisation)
    params = {"w": jnp.full((2, 2), size)}
    return np.asarray(update.update({"w": jnp.ones((2, 2))}, update.init(params), params)[0]["w"])


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_the_rate_that_is_taken_where_none_is_given(kind):
    settings = SHORT.replace(optimizer=kind, schedule="constant", learning_rate=None)
    np.testing.assert_array_equal(one_step(settings), one_step(settings.replace(learning_rate=1e-3)))
    assert np.abs(one_step(settings)).max() < 2e-3


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 10), (0.3, 10), (0.02, 1000)])
def test_the_schedule_is_the_cosine_with_a_linear_warm_up(warmup, steps):
    """Compared with the formula in float64, also with the length as an argument."""
    chosen = SHORT.replace(schedule="cosine", learning_rate=0.3, warmup=warmup, steps=steps).optimisation
    other = SHORT.replace(schedule="cosine", learning_rate=0.3, warmup=0.5, steps=7).optimisation
    rising, taken = round(warmup * steps), np.arange(steps + 1)
    falling = 0.5 * (1 + np.cos(np.pi * (taken - rising) / (steps - rising)))
    wanted = 0.3 * np.where(taken < rising, taken / max(rising, 1), falling)
    np.testing.assert_allclose(learning_rate(chosen)(taken), wanted, atol=1e-7)
    np.testing.assert_allclose(learning_rate(other, schedule_span(chosen))(taken), wanted, atol=1e-7)


def test_a_warmup_as_long_as_the_run_leaves_a_step():
    settings = SHORT.replace(schedule="cosine", warmup=0.99, steps=10)
    assert np.isfinite(one_step(settings)).all()
    assert isinstance(optimizer(settings.optimisation), optax.GradientTransformation)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_images_are_normalised_by_mean_and_deviation_of_each_channel(dtype):
    images = np.random.default_rng(0).integers(0, 200, (2, 28, 28, 2)).astype(dtype)
    labels = np.zeros((2, 28, 28), np.int32)
    values = RunValues.of(PLAIN, [100, 3], [50, 0.5])
    found, kept, weights, _ = make_prepare(PLAIN, (28, 28))(values, jnp.int32(0), (images, labels))
    wanted = (images.astype(np.float64) - [100, 3]) / [50, 0.5]
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    np.testing.assert_array_equal(kept, labels)
    assert weights is None


def test_the_rate_rises_in_the_warm_up_and_falls_to_nothing_at_the_end():
    settings = PLAIN.replace(steps=11, warmup=0.2, schedule="cosine", learning_rate=0.5).optimisation
    assert schedule_span(settings).tolist() == [2, 11]
    rates = [float(learning_rate(settings)(taken)) for taken in range(13)]
    falling = [0.25 * (1 + math.cos(math.pi * (taken - 2) / 9)) for taken in range(2, 12)]
    assert rates[:2] == [0.0, 0.25]
    assert rates[2:12] == pytest.approx(falling, abs=1e-6)
    assert rates[11] == pytest.approx(0, abs=1e-6)
    assert rates[12] == pytest.approx(0, abs=1e-6)  # not negative, and not up again
    without = PLAIN.replace(steps=4, warmup=0.0, schedule="cosine", learning_rate=0.5).optimisation
    assert [float(learning_rate(without)(taken)) for taken in (0, 2)] == pytest.approx([0.5, 0.25])
    long = PLAIN.replace(steps=3, warmup=0.9, schedule="cosine").optimisation
    assert schedule_span(long).tolist() == [2, 3]  # at least one step is left to fall


def test_runs_that_differ_only_in_their_values_share_a_step():
    """Seed, length, normalisation: the result is that of a step of their own."""
    forget_shared_steps()
    how = PLAIN.replace(noise=0.5, schedule="cosine", learning_rate=0.1)
    runs = [
        (how.replace(seed=1, steps=9, warmup=0.3), [0.5], [2.0]),
        (how.replace(seed=2, steps=5, warmup=0.0, validate_every=2), [-1.0], [0.25]),
    ]
    for settings, mean, std in runs:
        results = []
        values = RunValues.of(settings, mean, std)
        for make in (shared_step, make_step):
            graphdef, state = initial_state(UNet(WITHOUT_DROPOUT, 0), settings)
            step = make(graphdef, settings, (28, 28))
            for number in range(2):
                state, _ = step(state, values, *batch(seed=number))
            results.append(arrays(state["params"]))
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
    assert shared_step(graphdef, how, (28, 28))._cache_size() == 1  # compiled once for both


@pytest.mark.parametrize(
    "change", [{"learning_rate": 0.2}, {"loss": "dice"}, {"log_every": 3}, {"ema": 0.5}, {"noise": 0.5}, {"clip": 1.0}]
)
def test_a_step_with_other_settings_is_another(change):
    graphdef, _ = initial_state(UNet(WITHOUT_DROPOUT, 0), PLAIN)
    step = shared_step(graphdef, PLAIN, (28, 28))
    assert shared_step(graphdef, PLAIN.replace(**change), (28, 28)) is not step
    assert shared_step(graphdef, PLAIN, (28, 28)) is step


def test_a_step_of_another_network_or_tile_is_another():
    graphdef, _ = initial_state(UNet(WITHOUT_DROPOUT, 0), PLAIN)
    step = shared_step(graphdef, PLAIN, (28, 28))
    assert shared_step(initial_state(UNet(WITHOUT_DROPOUT, 1), PLAIN)[0], PLAIN, (28, 28)) is step  # other weights
    assert shared_step(graphdef, PLAIN, (44, 28)) is not step
    wider = initial_state(UNet(WITHOUT_DROPOUT.replace(widths=(2, 6)), 0), PLAIN)[0]
    assert shared_step(wider, PLAIN, (28, 28)) is not step
