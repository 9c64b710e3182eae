"""Inputs of the training step: averages, statistics, sampler, seeds."""

from dataclasses import replace
from itertools import pairwise

import jax
import numpy as np
import pytest

import unet_jax.training.evaluator
import unet_jax.training.log
import unet_jax.training.trainer
from unet_data import Sampler, membranes, mirror_window, prepare, split
from unet_data.datasets.border_weights import weight_maps
from unet_data.io.facts import FileFacts
from unet_data.normalize import normalization_of
from unet_jax.registry import create
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.loop import train
from unet_jax.training.run.train_state_folder import TrainStateFolder
from unet_jax.training.run.values import RunValues
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import make_prepare
from unet_jax.training.trainer import Trainer
from unet_spec import Checkpoint, InputError

from .small_runs import SMALL, WITHOUT_DROPOUT, data

SGD = TrainSettings().replace(
    steps=100, tile=28, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
    clip=None, augmentation=NONE,
)  # fmt: skip


def first_weights(folder, **changes):
    settings = SGD.replace(steps=1, learning_rate=1e-30, **changes)
    train(WITHOUT_DROPOUT, settings, *split(membranes(4, 40, 0)), folder)
    return np.concatenate([a.ravel() for a in Checkpoint.load(folder / "last").tensors.values()])


@pytest.mark.slow
def test_each_seed_has_its_own_first_weights(tmp_path):
    found = [first_weights(tmp_path / str(number), seed=seed) for number, seed in enumerate((0, 0, 5))]
    np.testing.assert_array_equal(found[0], found[1])
    assert all(np.abs(one - other).max() > 0.1 for one, other in pairwise(found[1:]))


SHORT = SMALL.replace(steps=3, log_every=1, validate_every=9, learning_rate=0.01, augmentation=NONE)


def losses(result):
    return {record["step"]: record["loss"] for record in result.log if "loss" in record}


def test_with_an_average_it_is_what_is_written(tmp_path, monkeypatch):
    states = {}
    real = TrainStateFolder.save

    def save(self, step, state, saved):
        states[step] = jax.tree.map(np.array, state)
        real(self, step, state, saved)

    monkeypatch.setattr(TrainStateFolder, "save", save)
    config = WITHOUT_DROPOUT.replace(norm="batch")
    train(config, SHORT.replace(ema=0.9), *data(), tmp_path / "run")
    written = sorted(
        a.ravel().tolist() for a in Checkpoint.load(tmp_path / "run" / "last").tensors.values() if a.ndim == 1
    )
    for kind, same in (("ema", True), (None, False)):
        tree = states[3]["ema"] if kind else {name: states[3][name] for name in ("params", "stats")}
        found = sorted(a.ravel().tolist() for a in jax.tree.leaves(tree) if a.ndim == 1)
        assert (found == written) == same


@pytest.mark.slow
def test_the_network_trains_as_networks_do_and_its_statistics_move(tmp_path):
    config = WITHOUT_DROPOUT.replace(norm="batch")
    train(config, SHORT.replace(steps=2), *data(), tmp_path / "run")
    tensors = Checkpoint.load(tmp_path / "run" / "last").tensors
    means = [a for name, a in tensors.items() if "running_mean" in name]
    assert means
    assert all(np.abs(a).max() > 1e-4 for a in means)


@pytest.mark.slow
def test_a_picture_in_16_bits_trains_as_in_8(tmp_path):
    found = []
    for factor, dtype in ((1, np.uint8), (257, np.uint16)):
        parts = [replace(d, images=tuple(i.astype(dtype) * dtype(factor) for i in d.images)) for d in data()]
        found.append(losses(train(WITHOUT_DROPOUT, SHORT, *parts, tmp_path / str(factor)))[3])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize("balance", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_sampler_gets_seed_target_and_weights(tmp_path, monkeypatch, balance):
    made = []

    class Spy(Sampler):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(unet_jax.training.trainer, "Sampler", Spy)
    settings = SHORT.replace(steps=1, batch=2, seed=7, border_weight=10.0, balance=balance, oversample=0.25)
    training, validation = data()
    train(WITHOUT_DROPOUT, settings, training, validation, tmp_path / "run")
    (_, window, target, batch, seed, weights, oversample, distances), *_ = made
    assert (oversample, distances) == (0.25, None)
    assert (window, target, batch, seed) == ((28, 28), WITHOUT_DROPOUT.geometry.output_shape((28, 28)), 2, 7)
    assert target != window
    wanted = weight_maps(training, 10.0, settings.loss.border_sigma, balance, tmp_path)
    for one, other in zip(weights, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_step_that_failed_names_its_own_images(tmp_path):
    settings = SHORT.replace(batch=3, steps=9, optimizer="sgd", schedule="constant", learning_rate=1e30, clip=None)
    training, validation = data(24)
    with pytest.raises(InputError, match="not finite in step") as caught:
        train(WITHOUT_DROPOUT, settings, training, validation, tmp_path / "run")
    step = int(str(caught.value).split("not finite in step ")[1].split()[0])
    sampler = Sampler(training, (28, 28), (12, 12), 3, settings.optimisation.seed)
    names = ", ".join(training.names[index] for index, _ in sampler.places(step - 1))
    assert f"in step {step} (batch of {names})" in str(caught.value)


def floats(nodata=None):
    """Two images and their labels; with `nodata`, that value in a corner, which the files declare."""
    made = membranes(2, 40, 0)
    images = [image.astype(np.float32) / 255 for image in made.images]
    labels = [label.copy() for label in made.labels]
    facts = ()
    if nodata is not None:
        for image, label in zip(images, labels, strict=True):
            image[:12, :30], label[:12, :30] = nodata, -1
        facts = (FileFacts(nodata=nodata),) * 2
    return replace(made, images=tuple(images), labels=tuple(labels), facts=facts)


@pytest.mark.parametrize("nodata", [-9999.0, float("nan")])
def test_what_holds_no_data_is_zero_in_the_step_and_counts_in_no_loss(nodata):
    dataset = floats(nodata)
    model = create(WITHOUT_DROPOUT, 0)
    model.data = normalization_of(dataset)
    trainer = Trainer(model, SHORT, dataset)
    images, labels = trainer._sampler.batch(0)
    assert np.isfinite(images).all()
    assert np.abs(images).max() < 10
    assert (labels == -1).any()
    for _, batch in trainer.batches(0):
        trainer.step(batch)
    loss, failed = trainer.loss_and_failure()
    assert failed == -1
    assert np.isfinite(loss)


@pytest.mark.parametrize("name", ["image", "percentile", "ct", "none"])
def test_a_step_sees_images_as_every_other_program_prepares_them(name):
    dataset = floats()
    model = create(WITHOUT_DROPOUT, 0)
    model.data = normalization_of(dataset, name)
    trainer = Trainer(model, SHORT, dataset)
    found, *_ = trainer._prepare(trainer._values, 0, trainer._sampler.batch(0))
    [(index, corner)] = trainer._sampler.places(0)
    prepared = prepare(dataset.images[index][None], WITHOUT_DROPOUT, model.data)[0]
    window = mirror_window(prepared, corner, trainer._sampler.window)
    unscaled = RunValues.of(SHORT, [0.0], [1.0])
    batch = window[None], np.zeros((1, *window.shape[:2]), int)
    expected, *_ = make_prepare(SHORT, trainer.tile)(unscaled, 0, batch)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_chosen_normalisation_is_stored_with_the_weights(tmp_path):
    train(WITHOUT_DROPOUT, SHORT.replace(steps=1, normalization="percentile"), *split(floats()), tmp_path)
    assert Checkpoint.load(tmp_path / "best").data.normalization == "percentile"
