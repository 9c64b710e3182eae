"""Messages of `unet train` and `unet evaluate`: interpretation of labels, warnings, resumed runs, and the origin of
each score."""

import os
import signal
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from unet_data import FileFacts, ReadSettings, TargetSpacing, membrane_instances, membranes, resample_dataset, split
from unet_data.io.facts import stored_reading
from unet_jax.training import loop
from unet_jax.training.loop import data_spec, train
from unet_jax.training.run.train_state_folder import TrainStateFolder
from unet_spec import Checkpoint, InputError, preset

from .small_runs import PAPER, SMALL, WITHOUT_DROPOUT, data

NARROW = preset("paper", widths=(2, 4), dropout=0.0)
TWO_STEPS = SMALL.replace(steps=2)


def test_numbers_of_objects_do_not_train_a_network_of_classes(tmp_path):
    training, validation = (
        replace(part, instances=membrane_instances(6, 40, 0)[: len(part)]) for part in split(membranes(6, 40, 0))
    )
    with pytest.raises(InputError, match="number objects of one class, the network predicts 3"):
        train(NARROW.replace(out_channels=3), TWO_STEPS, training, validation, tmp_path / "run")
    assert not (tmp_path / "run").exists()


SIX_STEPS = SMALL.replace(steps=6, log_every=3, validate_every=3)


def interrupting(after):
    """A report function that sends SIGTERM to this process after the first reported step."""

    def report(record):
        if record["step"] == after:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.slow), 6])
def test_a_signal_ends_the_run_however_often_it_measures(tmp_path, every):
    settings = SIX_STEPS.replace(steps=12, log_every=1, validate_every=every)
    result = train(PAPER, settings, *data(), tmp_path / "run", report=interrupting(2))
    assert result.stop_signal == signal.SIGTERM
    assert max(record["step"] for record in result.log) <= 3
    whole = train(PAPER, settings, *data(), tmp_path / "whole")
    resumed = train(PAPER, settings, *data(), tmp_path / "run", resume=True)
    assert [r for r in resumed.log if "iou" in r] == [r for r in whole.log if "iou" in r]


@pytest.mark.slow
def test_a_run_whose_loss_overflowed_goes_on_with_a_lower_rate(tmp_path):
    wild = SIX_STEPS.replace(optimizer="sgd", schedule="constant", learning_rate=1e30, clip=None)
    with pytest.raises(
        InputError, match="its weights are already too large: start a new run with a lower learning_rate"
    ):
        train(PAPER, wild, *data(), tmp_path / "run")
    with pytest.raises(InputError, match="its weights are already too large"):
        train(PAPER, wild.replace(learning_rate=1e-3, clip=1.0), *data(), tmp_path / "run", resume=True)
    # After huge steps the weights are finite but useless; a run that has only just failed can be resumed.
    train(PAPER, wild.replace(steps=1, learning_rate=1e-3), *data(), tmp_path / "mild")
    for changes in ({"learning_rate": 1e-4}, {"clip": 1.0}):
        gone_on = train(
            PAPER, wild.replace(**({"learning_rate": 1e-3} | changes)), *data(), tmp_path / "mild", resume=True
        )
        assert np.isfinite(gone_on.log[-2]["loss"])


@pytest.mark.slow
def test_a_layer_that_cannot_be_found_does_not_hide_what_happened(tmp_path, monkeypatch):
    def search(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr("unet_jax.training.trainer.first_not_finite", search)
    wild = SIX_STEPS.replace(optimizer="sgd", schedule="constant", learning_rate=1e30, clip=None)
    with pytest.raises(InputError, match=r"not finite in step \d+ \(batch of membranes-\d+\); .*changed with --resume"):
        train(PAPER, wild, *data(), tmp_path / "run")


def test_memory_that_is_used_up_is_one_line(tmp_path, monkeypatch):
    def step(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr("unet_jax.training.trainer.shared_step", lambda *_: step)
    monkeypatch.setattr("unet_jax.training.trainer.compile_within_memory", lambda step, *_: step)
    with pytest.raises(InputError, match=r"out of memory with 1 tile\(s\) of 28x28 pixels .* accumulate"):
        train(PAPER, SIX_STEPS, *data(), tmp_path / "run")


@pytest.mark.slow
def test_how_files_were_read_and_classes_that_the_data_do_not_have_are_stored(tmp_path):
    training, validation = data()
    training = replace(training, reading=ReadSettings(palette="index"))
    train(PAPER.replace(out_channels=4), SIX_STEPS.replace(select="iou"), training, validation, tmp_path / "run")
    point = Checkpoint.load(tmp_path / "run" / "best")
    assert point.data.class_names == (*data()[0].class_names, "class 2", "class 3")
    assert stored_reading(point.data) == training.reading  # not the default of the settings


EIGHT_STEPS = SMALL.replace(steps=8, log_every=2, validate_every=4)


def test_an_infinite_gradient_stops_the_run_and_keeps_the_state_before_it(tmp_path):

    import unet_jax.training.step

    settings = EIGHT_STEPS.replace(optimizer="sgd", schedule="constant", learning_rate=1e30, clip=None)
    with pytest.raises(InputError, match=r"not finite in step \d+ \(batch of membranes-\d+\): first in the ") as caught:
        train(WITHOUT_DROPOUT, settings, *data(), tmp_path / "run")
    printed = str(caught.value)
    step = int(printed.split("in step ")[1].split(" ")[0])
    assert 1 < step <= 8
    states = TrainStateFolder(tmp_path / "run" / "state")
    assert states.latest() == step - 1
    from unet_jax import UNet

    kept, _ = states.restore(unet_jax.training.step.initial_state(UNet(WITHOUT_DROPOUT, 0), settings)[1])
    states.close()
    import jax

    assert int(kept["step"]) == step - 1
    assert int(kept["failed"]) == -1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept["params"]))


def test_the_meaning_of_label_numbers_is_stored_where_it_is_not_the_default():
    whole = membranes(2, 32, 0)
    assert data_spec(NARROW, TWO_STEPS, whole).labels is None
    settings = TWO_STEPS.replace(labels="semantic", ignore=9, class_numbers="255,0")
    assert data_spec(NARROW, settings, whole).labels == {"labels": "semantic", "ignore": "9", "class_numbers": "255,0"}


def test_images_and_settings_have_one_pixel_size_which_is_stored(tmp_path):
    whole = membranes(3, 32, 0)
    whole = replace(whole, facts=tuple(FileFacts(spacing=(s, s), unit="µm") for s in (1.0, 1.0, 2.0)))
    training, validation = split(resample_dataset(whole, TargetSpacing((2.0, 2.0), "µm")))
    found = data_spec(NARROW, TWO_STEPS, training)
    assert (found.spacing, found.spacing_unit) == ((2.0, 2.0), "µm")
    assert data_spec(NARROW, TWO_STEPS, whole).spacing == ()
    with pytest.raises(InputError, match="resampled to pixels of 2 x 2 µm, but the settings have spacing none"):
        train(NARROW, TWO_STEPS, training, validation, tmp_path / "run")
    with pytest.raises(InputError, match="were not resampled, but the settings have spacing 2; give both the same"):
        train(NARROW, TWO_STEPS.replace(spacing="2"), *split(whole), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    for text in ("2", "2,2", "auto"):  # only then the tile is refused
        with pytest.raises(InputError, match="tile is 4"):
            train(NARROW, TWO_STEPS.replace(spacing=text, tile=4), training, validation, tmp_path / "run")


@pytest.mark.parametrize("compiled_before", [False, True])
def test_a_compilation_ends_with_the_first_step_unless_it_was_ended_before(compiled_before):
    """Without a training: everything but the order of the loop is replaced."""
    events = []
    trainer = SimpleNamespace(
        state={"step": 0},
        batches=lambda done: (each for each in [(1, "first"), (2, "second")]),
        step=events.append,
    )
    log = SimpleNamespace(restart=lambda *_: None, start_clock=lambda done: events.append(f"clock {done}"))
    evaluator = SimpleNamespace(saved=SimpleNamespace(measured=0))
    stop = SimpleNamespace(agreed=lambda _: False)
    compiling = None if compiled_before else SimpleNamespace(end=lambda: events.append("compiled"))
    settings = SMALL.replace(steps=9, log_every=9, validate_every=9)
    states = SimpleNamespace(latest=lambda: None)
    assert loop._Loop(settings, trainer, evaluator, states, log, stop, compiling).run(resume=True) == 2
    ended = [] if compiled_before else ["compiled"]
    assert events == ["clock 0", "first", *ended, "second", *ended]  # a second end does nothing


def test_data_that_do_not_fit_the_settings_are_refused(tmp_path):
    training, validation = split(membranes(4, 32, 0))
    bare = replace(validation, labels=None)
    border = NARROW.replace(distance_head=True)
    over = TWO_STEPS.replace(labels="overlapping")
    cases = [
        (NARROW, TWO_STEPS, bare, "has no labels; training needs one for each image"),
        (border, TWO_STEPS, validation, "a distance head needs labels that number objects"),
        (NARROW, over, validation, "was opened as not overlapping, but the settings have labels overlapping"),
        (
            NARROW,
            TWO_STEPS.replace(ignore=255),
            validation,
            "opened with ignore None, but the settings have ignore 255",
        ),
    ]
    for config, settings, other, words in cases:
        with pytest.raises(InputError, match=words):
            train(config, settings, training, other, tmp_path / "run")
    numbered = replace(training, instances=membrane_instances(4, 32, 0)[: len(training)])
    with pytest.raises(InputError, match="best/ is chosen by ap_mean, which needs labels that number objects"):
        train(NARROW, TWO_STEPS.replace(select="ap_mean"), numbered, validation, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_classes_that_the_data_lack_have_numbers_for_names():
    training = membranes(2, 32, 0)
    own = training.class_names
    assert loop.class_names(NARROW, training) == own
    assert loop.class_names(NARROW.replace(out_channels=4), training) == (*own, "class 2", "class 3")
    masks: Any = SimpleNamespace(overlapping=True, class_names=own, class_count=2)
    assert loop.class_names(NARROW.replace(out_channels=4), masks) == own
    other = replace(training, reading=ReadSettings(palette="index"))
    assert stored_reading(data_spec(NARROW, TWO_STEPS, other)) == other.reading
