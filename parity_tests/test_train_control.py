"""What starts, stops and goes on: signals, refusals that leave nothing behind, what a resumed run may change."""

import os
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_data import membranes, split
from unet_data.evaluate import measure
from unet_data.memory import available
from unet_jax.memory import that_fits
from unet_jax.settings import TrainSettings
from unet_jax.state import latest_step
from unet_jax.train import train
from unet_spec import Checkpoint, InputError, preset
from unet_spec.checkpoint import WEIGHTS

CONFIG = preset("paper", widths=(2, 4))
SETTINGS = TrainSettings(steps=6, tile=28, log_every=3, validate_every=3)


def data(count=4, seed=0):
    return split(membranes(count, 40, seed))


def interrupting(after):
    """A report that sends SIGTERM to this process once a step has been told."""

    def report(record):
        if record["step"] == after:
            os.kill(os.getpid(), signal.SIGTERM)

    return report


@pytest.mark.parametrize("every", [1, 6])
def test_a_signal_ends_the_run_however_often_it_measures(tmp_path, every):
    settings = replace(SETTINGS, steps=12, log_every=1, validate_every=every)
    result = train(CONFIG, settings, *data(), tmp_path / "run", report=interrupting(2))
    assert result.stopped == signal.SIGTERM
    assert max(record["step"] for record in result.log) <= 3
    whole = train(CONFIG, settings, *data(), tmp_path / "whole")
    resumed = train(CONFIG, settings, *data(), tmp_path / "run", resume=True)
    assert [r for r in resumed.log if "iou" in r] == [r for r in whole.log if "iou" in r]


def test_a_refused_run_leaves_its_folder_free(tmp_path, monkeypatch):
    def refuse(settings, tile):
        raise InputError("batch is 1")

    with monkeypatch.context() as patch:
        patch.setattr("unet_jax.train.make_mesh", refuse)
        with pytest.raises(InputError, match="batch is 1"):
            train(CONFIG, SETTINGS, *data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert train(CONFIG, SETTINGS, *data(), tmp_path / "run").scores


@pytest.mark.parametrize("other", [data(6), data(seed=1)], ids=["more images", "other labels"])
def test_a_run_goes_on_with_its_own_data_only(tmp_path, other):
    train(CONFIG, replace(SETTINGS, steps=3), *data(), tmp_path / "run")
    with pytest.raises(InputError, match=r"was trained on 3 images of .* resume it with the same data"):
        train(CONFIG, SETTINGS, *other, tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"was measured on 1 images of .* resume it with the same data"):
        train(CONFIG, SETTINGS, data()[0], other[1], tmp_path / "run", resume=True)
    assert train(CONFIG, SETTINGS, *data(), tmp_path / "run", resume=True).log[-1]["step"] == 6


def test_a_run_whose_loss_overflowed_goes_on_with_a_lower_rate(tmp_path):
    wild = replace(SETTINGS, optimizer="sgd", schedule="constant", learning_rate=1e30, clip=0.0)
    with pytest.raises(InputError, match="its weights are too large already: begin anew, with a lower learning_rate"):
        train(CONFIG, wild, *data(), tmp_path / "run")
    with pytest.raises(InputError, match="its weights are too large already"):  # as was told
        train(CONFIG, replace(wild, learning_rate=1e-3, clip=1.0), *data(), tmp_path / "run", resume=True)
    # What huge steps have left is finite, yet nothing to learn from; a run that only just failed is.
    train(CONFIG, replace(wild, steps=1, learning_rate=1e-3), *data(), tmp_path / "mild")
    for changes in ({"learning_rate": 1e-4}, {"clip": 1.0}):
        gone_on = train(
            CONFIG, replace(wild, **({"learning_rate": 1e-3} | changes)), *data(), tmp_path / "mild", resume=True
        )
        assert np.isfinite(gone_on.log[-2]["loss"])


def test_a_layer_that_cannot_be_found_does_not_hide_what_happened(tmp_path, monkeypatch):
    def search(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr("unet_jax.train.first_not_finite", search)
    wild = replace(SETTINGS, optimizer="sgd", schedule="constant", learning_rate=1e30, clip=0.0)
    with pytest.raises(InputError, match=r"not finite in step \d+ \(batch of membranes-\d+\); .*--resume takes either"):
        train(CONFIG, wild, *data(), tmp_path / "run")


def test_memory_that_is_used_up_is_one_line(tmp_path, monkeypatch):
    def step(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")

    monkeypatch.setattr("unet_jax.train.make_step", lambda *_: step)
    monkeypatch.setattr("unet_jax.train.that_fits", lambda step, *_: step)
    with pytest.raises(InputError, match=r"out of memory with 1 tile\(s\) of 28x28 pixels .* accumulate"):
        train(CONFIG, SETTINGS, *data(), tmp_path / "run")


@pytest.mark.parametrize("step", [3, 6])
@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: 9 bytes"), "as it measured the validation images after step"),
        (InputError("2.tif: is cut short"), "2.tif: is cut short"),
        (RuntimeError("else"), "else"),
    ],
    ids=["memory", "a damaged file", "anything"],
)
def test_a_measurement_that_fails_loses_no_step(tmp_path, monkeypatch, step, problem, told):
    """It is made when the run goes on, which then is the run that nothing befell."""
    calls = []

    def failing(*arguments):
        calls.append(0)
        if len(calls) == step // 3:
            raise problem
        return measure(*arguments)

    whole = train(CONFIG, SETTINGS, *data(), tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("unet_jax.train.measure", failing)
        with pytest.raises((InputError, RuntimeError), match=told):
            train(CONFIG, SETTINGS, *data(), tmp_path / "run")
    assert latest_step(tmp_path / "run" / "state") == step
    for _ in range(2):
        resumed = train(CONFIG, SETTINGS, *data(), tmp_path / "run", resume=True)
        assert (resumed.scores, resumed.best) == (whole.scores, whole.best)
        assert without_speed(resumed.log) == without_speed(whole.log)
        weights = [(tmp_path / name / "best" / WEIGHTS).read_bytes() for name in ("run", "whole")]
        assert weights[0] == weights[1]


def test_a_finished_run_is_not_measured_again(tmp_path, monkeypatch):
    done = train(CONFIG, SETTINGS, *data(), tmp_path / "run")
    monkeypatch.setattr("unet_jax.train.measure", None)
    assert train(CONFIG, SETTINGS, *data(), tmp_path / "run", resume=True).scores == done.scores


def without_speed(log):
    return [{k: v for k, v in record.items() if k != "steps_per_second"} for record in log]


def test_a_network_may_tell_more_classes_apart_than_the_data_have(tmp_path):
    train(CONFIG.replace(out_channels=4), replace(SETTINGS, select="iou"), *data(), tmp_path / "run")
    point = Checkpoint.load(tmp_path / "run" / "best")
    assert point.data.class_names == (*data()[0].class_names, "class 2", "class 3")


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
def test_a_step_that_a_cpu_has_no_memory_for_is_refused_before_the_run_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_jax.memory.available", lambda: 2**10)
    with pytest.raises(InputError, match=r"^a step of 3 tile\(s\) of 100x100 pixels, .* and 0\.0 GiB are available"):
        train(CONFIG, replace(SETTINGS, batch=3), *data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
def test_a_tile_larger_than_the_memory_is_refused_before_it_is_cut(tmp_path):
    with pytest.raises(InputError, match=r"^a step of 1 tile\(s\) of 1\d{6}x1\d{6} pixels, "):
        train(CONFIG, replace(SETTINGS, tile=1_000_000), *data(), tmp_path / "run")


def test_a_state_that_is_damaged_is_one_line(tmp_path):
    train(CONFIG, SETTINGS, *data(), tmp_path / "run")
    for path in (tmp_path / "run" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"state: the state of step 6 is damaged or of .*; bring back its files") as e:
        train(CONFIG, replace(SETTINGS, steps=9), *data(), tmp_path / "run", resume=True)
    assert "\n" not in str(e.value)


@pytest.mark.skipif(jax.default_backend() != "cpu" or sys.platform != "linux", reason="of CPUs under Linux")
@pytest.mark.parametrize(("gib", "fits"), [(0.5, False), (2.0, True)])
def test_what_a_step_needs_is_told_by_the_compiler(monkeypatch, gib, fits):
    step = jax.jit(lambda state, x: (state, (jnp.sort(x, 0) * x).sum()))  # keeps a copy of 1 GiB
    monkeypatch.setattr("unet_jax.memory.available", lambda: int(gib * 2**30))
    with nullcontext() if fits else pytest.raises(InputError, match=r"takes 1\.0 GiB of memory, and 0\.5 GiB are"):
        that_fits(step, {}, [jax.ShapeDtypeStruct((8, 512, 1024, 64), jnp.float32)])


@pytest.mark.parametrize(("limit", "room"), [("3000", 3000 - 2500 + 700), ("max", None)])
def test_files_that_a_container_has_read_are_no_memory_in_use(tmp_path, monkeypatch, limit, room):
    for name, text in {
        "max": limit,
        "current": "2500",
        "stat": "anon 1500\nactive_file 300\ninactive_file 700\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text + "\n")
    monkeypatch.setattr("unet_data.memory._CGROUP", tmp_path)
    assert available() == room if room else available() > 2**20


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_jax_does_not_take_is_refused(seed):
    with pytest.raises(InputError, match=f"seed is {seed}; it must be"):
        TrainSettings(seed=seed)
    assert jax.random.key(TrainSettings(seed=2**63 - 1).seed).shape == ()


@pytest.mark.parametrize("loss", ["dice", "tversky", "focal"])
@pytest.mark.parametrize("extra", [{"smoothing": 0.1}, {"border_weight": 10.0}, {"balance": True}])
def test_what_a_loss_would_ignore_is_refused(loss, extra):
    if loss == "focal" and "smoothing" not in extra:
        assert TrainSettings(loss=loss, **extra).weighted
        return
    with pytest.raises(InputError, match=f"which the loss {loss} does not have; set it to (0.0|False)"):
        TrainSettings(loss=loss, **extra)
