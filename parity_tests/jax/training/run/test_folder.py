"""The folder of a run: it is resumed only with its own data and recipe, and never overwritten."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unet_data import membranes, open_dataset, split, write_stack
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.loop import train
from unet_jax.training.run.folder import FREE, check_folder, write_record
from unet_jax.training.settings import TrainSettings
from unet_spec import InputError
from unet_tools.cli import main

from ..small_runs import PAPER, SMALL, data

SIX_STEPS = SMALL.replace(steps=6, log_every=3, validate_every=3)


@pytest.mark.slow
def test_a_refused_run_leaves_its_folder_free(tmp_path, monkeypatch):
    def refuse(settings, tile):
        raise InputError("batch is 1")

    with monkeypatch.context() as patch:
        patch.setattr("unet_jax.training.trainer.make_mesh", refuse)
        with pytest.raises(InputError, match="batch is 1"):
            train(PAPER, SIX_STEPS, *data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert train(PAPER, SIX_STEPS, *data(), tmp_path / "run").scores


def test_settings_with_several_values_are_those_of_the_file(tmp_path):
    """run.json has lists instead of tuples."""
    out, several = tmp_path / "run", SMALL.replace(freeze=("encoder",))
    for settings in (SMALL, several):
        shutil.rmtree(out, ignore_errors=True)
        write_record(out, check_folder(out, PAPER, settings, *data(), False))
        assert check_folder(out, PAPER, settings, *data(), True)["settings"] == settings.to_dict()
    with pytest.raises(InputError, match="was trained with freeze"):
        check_folder(out, PAPER, SMALL, *data(), True)


def test_a_run_goes_on_with_its_own_data_only(tmp_path):
    train(PAPER, SIX_STEPS.replace(steps=3), *data(), tmp_path / "run")
    for other in (data(6), data(seed=1)):  # more images, other labels
        with pytest.raises(InputError, match=r"was trained on 3 images of .* resume it with the same data"):
            train(PAPER, SIX_STEPS, *other, tmp_path / "run", resume=True)
        with pytest.raises(InputError, match=r"was measured on 1 images of .* resume it with the same data"):
            train(PAPER, SIX_STEPS, data()[0], other[1], tmp_path / "run", resume=True)
    assert train(PAPER, SIX_STEPS, *data(), tmp_path / "run", resume=True).log[-1]["step"] == 6


FOUR_STEPS = SMALL.replace(steps=4, log_every=2, validate_every=2)
FLAGS = ["--recipe", "none", "--widths", "2", "4", "--steps", "2", "--tile", "28", "--schedule", "constant", "--json"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with images in data/."""
    made = membranes(4, 40, 0)
    (tmp_path / "data").mkdir()
    write_stack(tmp_path / "data" / "train-volume.tif", np.stack(made.images))
    write_stack(tmp_path / "data" / "train-labels.tif", np.stack(made.labels).astype(np.uint8) * 255)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(run):
    return json.loads((run / "run.json").read_text())


@pytest.mark.slow
def test_a_run_is_repeated_from_within_its_folder(home, monkeypatch):
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS]) == 0
    assert stored(home / "run")["path"] == str(home / "data")
    monkeypatch.chdir(home / "run")
    assert main(["train", "--config", "run.json", "--no-report", "--json"]) == 0
    lines = [(home / name / "log.jsonl").read_text().count("\n") for name in ("run", "run-2")]
    assert lines == [3, 3]  # a loss and a validation after each step


@pytest.mark.slow
def test_a_run_made_in_python_is_resumed_and_repeated_by_the_command(home, capsys):
    train(PAPER, FOUR_STEPS.replace(steps=2), *split(open_dataset("data")), home / "run")
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    assert main(["train", "--config", "run/run.json", "--steps", "2", "--no-report", "--json"]) == 0
    train(PAPER, FOUR_STEPS.replace(steps=2), *split(membranes(4, 40, 0)), home / "none")
    capsys.readouterr()
    assert main(["train", "--out", "none", "--resume", "--no-report", "--json"]) == 2
    assert "images from memory, not from files; give the data" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_goes_on_with_its_own_recipe_or_not_at_all(home, capsys):
    flags = ["--preset", "paper", "--widths", "2", "4", "--tile", "36", "--no-report", "--json"]
    paper, modern = ["--recipe", "paper-2015"], ["--recipe", "modern"]
    assert main(["train", "data", "--out", "run", *flags, *paper, "--steps", "2", "--seed", "3"]) == 0
    before, again = stored(home / "run"), ["train", "--out", "run", "--resume", "--no-report", "--json", "--steps"]
    capsys.readouterr()
    assert main([*again, "3", *modern]) == 2
    message = capsys.readouterr().err
    assert "run was trained with batch 1, not 4; resume it with the same setting, or leave the setting out" in message
    assert main([*again, "3", *paper]) == 0
    after = stored(home / "run")
    assert after["network"] == before["network"]
    assert after["settings"] == before["settings"] | {"steps": 3}


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(home):
    """A run whose run.json has 0 for "automatic" and "off", and lacks later settings."""
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS, "--clip", "0", "--learning-rate", "0"]) == 0
    record = stored(home / "run")
    automatic = {"clip": None, "learning_rate": None, "ema": None}
    assert record["settings"].items() >= automatic.items()
    del record["settings"]["select"], record["settings"]["validate"], record["settings"]["normalization"]
    record["settings"] |= dict.fromkeys(automatic, 0.0)
    (home / "run" / "run.json").write_text(json.dumps(record))
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    assert stored(home / "run")["settings"].items() >= automatic.items()
    assert stored(home / "run")["changed"] == [{"after": 2, "steps": [2, 3]}]
    assert stored(home / "run")["settings"]["validate"] == "last"  # the split of every run of an earlier version


@pytest.mark.slow
def test_the_images_that_validate_stay_the_same(home, capsys):
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS, "--validate", "1/3"]) == 0
    held = stored(home / "run")["validation_images"]
    assert held == list(open_dataset(home / "data").names[: len(held)])
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report"]) == 0
    assert stored(home / "run")["validation_images"] == held
    assert main(["evaluate", str(home / "run" / "best"), "data", "--subset", "validation", "--json"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(home / "run" / "best"), "data", "--subset", "validation"]) == 0
    assert "fold 1 of 3" in capsys.readouterr().err
    assert main(["train", "--out", "run", "--resume", "--steps", "4", "--validate", "2/3", "--no-report"]) == 2
    assert "resume it with the same data" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_has_its_data_by_a_relative_path_goes_on(home):
    """The earlier format of run.json."""
    assert main(["train", "data", "--out", "run", "--no-report", *FLAGS]) == 0
    (home / "run" / "run.json").write_text(json.dumps(stored(home / "run") | {"path": "data"}))
    assert main(["train", "--out", "run", "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    assert stored(home / "run")["path"] == str(home / "data")


def test_a_run_without_its_state_does_not_begin_anew_over_its_checkpoints(home, capsys):
    command = ["train", "data", "--out", "run", "--no-report", *FLAGS]
    assert main(command) == 0
    kept = [(home / "run" / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    shutil.rmtree(home / "run" / "state")
    capsys.readouterr()
    assert main([*command, "--resume", "--steps", "3"]) == 2
    assert "run has checkpoints but no state/, so it cannot be resumed" in capsys.readouterr().err
    assert kept == [(home / "run" / name / "model.safetensors").read_bytes() for name in ("best", "last")]
    (home / "run" / "state").mkdir()  # as if the run was killed before its first state was complete
    assert main([*command, "--resume", "--steps", "3"]) == 0


@pytest.mark.slow
def test_a_finished_run_is_not_compiled_to_learn_its_memory(home, monkeypatch):
    asked = []
    monkeypatch.setattr("unet_jax.training.trainer.compile_within_memory", lambda step, *_: asked.append(0) or step)
    for steps, times in [(2, 1), (2, 1), (3, 2)]:
        train(PAPER, FOUR_STEPS.replace(steps=steps), *data(), home / "run", resume=True)
        assert len(asked) == times


def test_a_report_that_cannot_be_written_loses_no_scores(home, monkeypatch, capsys):
    printed = []

    def full(*_):
        printed.append(capsys.readouterr().out)
        raise InputError("cannot write the report to run: No space left on device")

    monkeypatch.setattr("unet_tools.report.run.write_run_report", full)
    assert main(["train", "data", "--out", "run", *FLAGS]) == 0
    assert json.loads(printed[0])["best"]["iou"] >= 0
    assert capsys.readouterr().err == (
        "no report.html: cannot write the report to run: No space left on device; then: unet report run\n"
    )


def test_a_run_does_not_go_back(tmp_path):
    train(PAPER, FOUR_STEPS, *data(), tmp_path / "run")
    with pytest.raises(InputError, match="already has 4 steps; to resume it, steps must be at least 4, not 3"):
        train(PAPER, FOUR_STEPS.replace(steps=3), *data(), tmp_path / "run", resume=True)
    assert stored(tmp_path / "run")["settings"]["steps"] == 4
    assert train(PAPER, FOUR_STEPS, *data(), tmp_path / "run", resume=True).scores


def plant(folder, names):
    for name in names:
        path = folder / name
        if "tmp" in path.name:
            path.mkdir(parents=True)
            path = path / "content"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")


LEFT = ["state/4.orbax-checkpoint-tmp", "state/6.orbax-checkpoint-tmp-17", "best/.model.0123456789ab.safetensors"]
LEFT += ["last/.config.0123456789ab.json", "last/.README.0123456789ab.md"]
LEFT += [".run.0123456789ab.json", ".last.0123456789ab/config.json"]
OWN = ["state/mine.orbax-checkpoint-tmp", "best/.model.safetensors", "best/model.0123456789ab.safetensors"]
OWN += ["last/.model.0123456789ab.txt", "other/.model.0123456789ab.safetensors", "2.orbax-checkpoint-tmp"]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path):
    run = tmp_path / "run"
    train(PAPER, FOUR_STEPS.replace(steps=2), *data(), run)
    plant(run, LEFT + OWN)
    train(PAPER, FOUR_STEPS, *data(), run, resume=True)
    assert not [name for name in LEFT if (run / name).exists()]
    assert all((run / name).exists() for name in OWN)


def test_in_a_folder_that_is_no_run_nothing_is_removed(tmp_path):
    plant(tmp_path, LEFT[2:])
    train(PAPER, FOUR_STEPS.replace(steps=2), *data(), tmp_path)
    assert all((tmp_path / name).exists() for name in LEFT[2:])


EIGHT_STEPS = SMALL.replace(steps=8, log_every=2, validate_every=4)


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the run folder"):
        train(PAPER, EIGHT_STEPS, *data(), tmp_path / "file" / "run")
    with pytest.raises(InputError, match="file is a file; give a folder for the run"):
        train(PAPER, EIGHT_STEPS, *data(), tmp_path / "file")


def test_another_run_is_not_overwritten(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"network": PAPER.to_dict(), "settings": {}, "data": "x"}))
    with pytest.raises(InputError, match="already contains a run"):
        train(PAPER, EIGHT_STEPS, *data(), Path(tmp_path))


SHORT = SMALL.replace(steps=3, log_every=1, validate_every=9)


OTHERS = {
    "batch": 2, "tile": 44, "optimizer": "sgd", "schedule": "cosine", "warmup": 0.3, "momentum": 0.5,
    "weight_decay": 0.3, "loss": "dice", "focal_gamma": 1.0, "tversky_alpha": 0.5, "tversky_beta": 0.5,
    "smoothing": 0.1, "border_weight": 5.0, "border_sigma": 3.0, "balance": True, "ignore": 255, "labels": "semantic",
    "distance_weight": 2.0,
    "ema": 0.5, "accumulate": 2, "precision": "bfloat16", "remat": True, "select": "dice", "validate_every": 3,
    "log_every": 2, "seed": 1, "augmentation": replace(NONE, mirror=True), "normalization": "image",
    "class_numbers": "1,0", "channels": "all", "orientation": "ignore", "white_is_zero": "stored", "palette": "index",
    "class_colors": "#000000,#800000", "axes": "QYX", "pixel_size": "5,1,1 mm", "spacing": "auto",
    "freeze": ("encoder",), "objects": True, "oversample": 0.5, "weights": "elsewhere",
}  # fmt: skip


def test_whatever_else_changes_the_numbers_is_refused_when_a_run_goes_on(tmp_path):
    assert set(TrainSettings().to_dict()) == set(OTHERS) | set(FREE)
    start = SHORT.replace(steps=1, batch=4)
    train(PAPER, start, *data(), tmp_path / "run")
    for name, value in OTHERS.items():
        parts = [replace(d, ignore=255) for d in data()] if name == "ignore" else data()
        with pytest.raises(InputError, match=f"was trained with {name} "):
            train(PAPER, start.replace(**{name: value}), *parts, tmp_path / "run", resume=True)


@pytest.fixture(scope="module")
def one_step(tmp_path_factory):
    """The folder and the settings of a run of one step."""
    run, settings = tmp_path_factory.mktemp("one") / "run", SHORT.replace(steps=1)
    train(PAPER, settings, *data(), run)
    return run, settings


def test_a_damaged_log_is_refused_before_anything_is_written(one_step, tmp_path):
    run, settings = tmp_path / "run", one_step[1]
    shutil.copytree(one_step[0], run)
    (run / "log.jsonl").write_text('{"step": "x"}\n')
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"log\.jsonl, line 1: expected a record of numbers"):
        train(PAPER, settings.replace(learning_rate=0.5), *data(), run, resume=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_renamed_images_are_other_images(one_step):
    run, settings = one_step
    training, validation = data()
    for parts in (replace(training, names=("x", "y", "z")), validation), (training, replace(validation, names=("v",))):
        with pytest.raises(InputError, match="differ in names, sizes or labels"):
            train(PAPER, settings, *parts, run, resume=True)
