"""What the training loop hands on: settings to the parts that need them, the right weights to the checkpoints, and
numbers to the log."""

import os
import signal
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import unet_jax.train
from unet_data import Sampler, membranes, split
from unet_data.border_weights import weight_maps
from unet_data.evaluate import measure
from unet_jax.augment import NONE
from unet_jax.interrupt import Stop
from unet_jax.mesh import state_shardings
from unet_jax.run_folder import FREE
from unet_jax.selection import measure_for
from unet_jax.settings import Measure, TrainSettings
from unet_jax.state import StateFolder
from unet_jax.step import optimizer
from unet_jax.train import train
from unet_spec import Checkpoint, DataSpec, InputError, preset

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
SETTINGS = TrainSettings(steps=3, tile=28, log_every=1, validate_every=9, learning_rate=0.01, augmentation=NONE)


def data(count=4):
    return split(membranes(count, 40, 0))


def losses(result):
    return {record["step"]: record["loss"] for record in result.log if "loss" in record}


def test_with_an_average_it_is_what_is_written(tmp_path, monkeypatch):
    states = {}
    real = StateFolder.save

    def save(self, step, state, saved):
        states[step] = jax.tree.map(np.array, state)
        real(self, step, state, saved)

    monkeypatch.setattr(StateFolder, "save", save)
    config = CONFIG.replace(norm="batch")
    train(config, replace(SETTINGS, ema=0.9), *data(), tmp_path / "run")
    written = sorted(
        a.ravel().tolist() for a in Checkpoint.load(tmp_path / "run" / "last").tensors.values() if a.ndim == 1
    )
    for kind, same in (("ema", True), (None, False)):
        tree = states[3]["ema"] if kind else {name: states[3][name] for name in ("params", "stats")}
        found = sorted(a.ravel().tolist() for a in jax.tree.leaves(tree) if a.ndim == 1)
        assert (found == written) == same


def test_the_network_trains_as_networks_do_and_its_statistics_move(tmp_path):
    config = CONFIG.replace(norm="batch")
    train(config, replace(SETTINGS, steps=2), *data(), tmp_path / "run")
    tensors = Checkpoint.load(tmp_path / "run" / "last").tensors
    means = [a for name, a in tensors.items() if "running_mean" in name]
    assert means
    assert all(np.abs(a).max() > 1e-4 for a in means)


def test_a_picture_in_16_bits_trains_as_in_8(tmp_path):
    found = []
    for factor, dtype in ((1, np.uint8), (257, np.uint16)):
        parts = [replace(d, images=tuple(i.astype(dtype) * dtype(factor) for i in d.images)) for d in data()]
        found.append(losses(train(CONFIG, SETTINGS, *parts, tmp_path / str(factor)))[3])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("balance", [False, True])
def test_the_sampler_gets_seed_target_and_weights(tmp_path, monkeypatch, balance):
    made = []

    class Spy(Sampler):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(unet_jax.train, "Sampler", Spy)
    settings = replace(SETTINGS, steps=1, batch=2, seed=7, border_weight=10.0, balance=balance)
    training, validation = data()
    train(CONFIG, settings, training, validation, tmp_path / "run")
    (_, window, target, batch, seed, weights), *_ = made
    assert (window, target, batch, seed) == ((28, 28), CONFIG.geometry.output_shape((28, 28)), 2, 7)
    assert target != window
    wanted = weight_maps(training, 10.0, settings.border_sigma, balance, tmp_path)
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_line_of_the_log_is_the_mean_since_the_last_one(tmp_path):
    each = losses(train(CONFIG, replace(SETTINGS, steps=5), *data(), tmp_path / "each"))
    few = losses(train(CONFIG, replace(SETTINGS, steps=5, log_every=3), *data(), tmp_path / "few"))
    assert few == {3: pytest.approx(np.mean([each[n] for n in (1, 2, 3)])), 5: pytest.approx((each[4] + each[5]) / 2)}


def test_steps_are_counted_over_the_time_that_they_took(tmp_path, monkeypatch):
    """A clock that each step moves by a second, and each measurement by a hundred."""
    clock = [0.0]
    make, look = unet_jax.train.make_step, measure

    def make_step(*arguments):
        step = make(*arguments)

        def slow(*given):
            clock[0] += 1
            return step(*given)

        return slow

    def slow_measure(*arguments):
        clock[0] += 100
        return look(*arguments)

    monkeypatch.setattr(unet_jax.train, "make_step", make_step)
    monkeypatch.setattr(unet_jax.train, "that_fits", lambda step, *_: step)
    monkeypatch.setattr(unet_jax.train, "measure", slow_measure)
    monkeypatch.setattr(unet_jax.train, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    settings = replace(SETTINGS, log_every=4, validate_every=3)
    train(CONFIG, replace(settings, steps=2), *data(), tmp_path / "run")
    result = train(CONFIG, replace(settings, steps=11), *data(), tmp_path / "run", resume=True)
    speeds = {r["step"]: r["steps_per_second"] for r in result.log if "loss" in r}
    assert speeds == {2: 1.0, 4: 1.0, 8: 1.0, 11: 1.0}


def test_a_step_that_failed_names_its_own_images(tmp_path):
    settings = replace(SETTINGS, batch=3, steps=9, optimizer="sgd", schedule="constant", learning_rate=1e30, clip=0.0)
    training, validation = data(24)
    with pytest.raises(InputError, match="not finite in step") as caught:
        train(CONFIG, settings, training, validation, tmp_path / "run")
    step = int(str(caught.value).split("not finite in step ")[1].split()[0])
    sampler = Sampler(training, (28, 28), (12, 12), 3, settings.seed)
    names = ", ".join(training.names[index] for index, _ in sampler.places(step - 1))
    assert f"in step {step} (batch of {names})" in str(caught.value)


def one_step(settings, size=3.0):
    """What the optimizer makes of a gradient of ones."""
    update = optimizer(settings)
    params = {"w": jnp.full((2, 2), size)}
    return np.asarray(update.update({"w": jnp.ones((2, 2))}, update.init(params), params)[0]["w"])


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_the_rate_that_is_taken_where_none_is_given(kind):
    settings = replace(SETTINGS, optimizer=kind, schedule="constant", learning_rate=0.0)
    np.testing.assert_array_equal(one_step(settings), one_step(replace(settings, learning_rate=1e-3)))
    assert np.abs(one_step(settings)).max() < 2e-3


def test_a_warmup_as_long_as_the_run_leaves_a_step():
    settings = replace(SETTINGS, schedule="cosine", warmup=0.99, steps=10)
    assert np.isfinite(one_step(settings)).all()
    assert isinstance(optimizer(settings), optax.GradientTransformation)


OTHERS = {
    "batch": 2, "tile": 44, "optimizer": "sgd", "schedule": "constant", "warmup": 0.3, "momentum": 0.5,
    "weight_decay": 0.3, "loss": "dice", "focal_gamma": 1.0, "tversky_alpha": 0.5, "tversky_beta": 0.5,
    "smoothing": 0.1, "border_weight": 5.0, "border_sigma": 3.0, "balance": True, "ignore": 255, "labels": "semantic",
    "ema": 0.5, "accumulate": 2, "precision": "bfloat16", "remat": True, "select": "dice", "validate_every": 3,
    "log_every": 2, "seed": 1, "augmentation": replace(NONE, mirror=True),
}  # fmt: skip


def test_whatever_else_changes_the_numbers_is_refused_when_a_run_goes_on(tmp_path):
    assert {f.name for f in fields(TrainSettings)} == set(OTHERS) | set(FREE)
    start = replace(SETTINGS, steps=1, batch=4)
    train(CONFIG, start, *data(), tmp_path / "run")
    for name, value in OTHERS.items():
        parts = [replace(d, ignore=255) for d in data()] if name == "ignore" else data()
        with pytest.raises(InputError, match=f"was trained with {name} "):
            train(CONFIG, replace(start, **{name: value}), *parts, tmp_path / "run", resume=True)


def test_renamed_images_are_other_images(tmp_path):
    settings = replace(SETTINGS, steps=1)
    training, validation = data()
    train(CONFIG, settings, training, validation, tmp_path / "run")
    for parts in (replace(training, names=("x", "y", "z")), validation), (training, replace(validation, names=("v",))):
        with pytest.raises(InputError, match="have other names, sizes or labels"):
            train(CONFIG, settings, *parts, tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["warmup", "momentum", "smoothing", "ema"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_shares_are_below_one(name, value):
    with pytest.raises(InputError, match=f"{name} is {value}; it must lie in"):
        replace(SETTINGS, **{name: value})


def test_weights_are_cut_along_their_longest_axis():
    mesh, made = SimpleNamespace(shape={"data": 2}), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unet_jax.mesh.NamedSharding", lambda _, spec: made.append(tuple(spec)))
        state_shardings(mesh, [np.zeros((4, 8)), np.zeros((8, 4)), np.zeros((3, 3, 2, 6)), np.zeros((3, 5))], True)
    assert made == [(None, "data"), ("data",), (None, None, None, "data"), ()]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_ctrl_c_ends_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        os.kill(os.getpid(), first)
        assert stop.signal == first
        os.kill(os.getpid(), signal.SIGTERM)  # asked for twice, it is not hurried
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_all_choices_of_a_measure_are_measured():
    def nothing(images):
        return np.zeros((len(images), *CONFIG.geometry.output_shape(images.shape[1:3]), 2))

    training, validation = data()
    scores = measure(nothing, CONFIG, DataSpec(), validation, objects=True)
    assert {measure_for(replace(SETTINGS, select=name), CONFIG, training) for name in get_args(Measure)} <= set(scores)
