"""A failed validation loses no step, and a finished run is not validated again."""

import shutil
from dataclasses import replace

import jax
import numpy as np
import pytest

from unet_data import IGNORED, predict_image
from unet_data.inference.output import probabilities
from unet_data.metrics.evaluate import measure
from unet_jax import JaxRuntime, from_pretrained
from unet_jax.training.loop import train
from unet_jax.training.run.train_state_folder import latest_step
from unet_spec import InputError
from unet_spec.weights.checkpoint import WEIGHTS

from .small_runs import PAPER, SMALL, data

SIX_STEPS = SMALL.replace(steps=6, log_every=3, validate_every=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run and its folder. Tests that continue it copy the folder."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(PAPER, SIX_STEPS, *data(), folder), folder


@pytest.mark.parametrize("step", [3, pytest.param(6, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("problem", "message"),
    [
        pytest.param(
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes"), "in the validation after step", id="memory"
        ),
        pytest.param(InputError("2.tif: is cut short"), "is cut short", id="a damaged file", marks=pytest.mark.slow),
        pytest.param(RuntimeError("else"), "else", id="anything", marks=pytest.mark.slow),
    ],
)
def test_a_measurement_that_fails_loses_no_step(whole, tmp_path, monkeypatch, step, problem, message):
    """The validation is repeated when the run is resumed, which then equals an uninterrupted run."""
    calls = []

    def failing(*arguments):
        calls.append(0)
        if len(calls) == step // 3:
            raise problem
        return measure(*arguments)

    result, folder = whole
    with monkeypatch.context() as patch:
        patch.setattr("unet_jax.training.evaluator.measure", failing)
        with pytest.raises((InputError, RuntimeError), match=message):
            train(PAPER, SIX_STEPS, *data(), tmp_path / "run")
    assert latest_step(tmp_path / "run" / "state") == step
    for _ in range(2):
        resumed = train(PAPER, SIX_STEPS, *data(), tmp_path / "run", resume=True)
        assert (resumed.scores, resumed.best) == (result.scores, result.best)
        assert without_speed(resumed.log) == without_speed(result.log)
        assert (tmp_path / "run" / "best" / WEIGHTS).read_bytes() == (folder / "best" / WEIGHTS).read_bytes()


def test_a_finished_run_is_not_measured_again(whole, tmp_path, monkeypatch):
    done, folder = whole
    shutil.copytree(folder, tmp_path / "run")
    monkeypatch.setattr("unet_jax.training.evaluator.measure", None)
    assert train(PAPER, SIX_STEPS, *data(), tmp_path / "run", resume=True).scores == done.scores


@pytest.mark.parametrize("loss", ["cross_entropy", pytest.param("dice", marks=pytest.mark.slow)])
def test_the_validation_loss_is_the_mean_of_the_loss_of_predictions(tmp_path, loss):
    training, validation = data(12)
    ignored = tuple(np.where(np.indices(label.shape)[0] < 9, IGNORED, label) for label in validation.labels)
    validation = replace(validation, labels=ignored, ignore=255)
    settings = SMALL.replace(steps=1, loss=loss, ignore=255, smoothing=0.2 if loss == "cross_entropy" else 0.0)
    result = train(PAPER, settings, replace(training, ignore=255), validation, tmp_path / "run")
    network = from_pretrained(tmp_path / "run" / "last")
    losses = []
    for image, label in zip(validation.images, validation.labels, strict=True):
        logits = predict_image(JaxRuntime(network).run, image, PAPER, network.data)
        chances = probabilities(logits)[9:]
        true = np.eye(2)[label[9:]]
        if loss == "dice":
            losses.append(1 - np.mean(2 * (chances * true).sum((0, 1)) / (chances + true).sum((0, 1))))
        else:
            losses.append(-np.log((chances * true).sum(-1)).mean())
    assert len(losses) == 2
    assert result.scores["validation_loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert [r["validation_loss"] for r in result.log if "iou" in r] == [result.scores["validation_loss"]]


def without_speed(log):
    return [{k: v for k, v in record.items() if k != "steps_per_second"} for record in log]
