"""`unet train` without settings, and `unet plan DATA`: the same plan, stored in the run's folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import unet_tools.commands.train as command
from unet_data import membranes
from unet_jax import TrainResult, TrainSettings
from unet_jax.training.planning.rules import Choice
from unet_spec import InputError
from unet_tools.arguments.processes import ProcessFlags
from unet_tools.cli import main
from unet_tools.training.flags import NetworkFlags, TrainArgs
from unet_tools.training.plans.planned import check_time, describe, given_flags, names_network


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """The arguments of `train`, with a simulated step of half a second."""
    asked = []

    def train(config, settings, training, validation, out, resume, report):
        out.mkdir(parents=True, exist_ok=True)
        report({"step": 0, "compiling": "a step"})
        asked.append((config, settings))
        return TrainResult(out, {}, {}, [], 15)

    def timed(network, training_settings, training):
        return 0.5

    original = command.plan_run.__globals__["plan_training"]
    monkeypatch.setitem(command.plan_run.__globals__, "plan_training", lambda *a, **k: original(*a, **k, timed=timed))
    monkeypatch.setattr(command, "train", train)
    return asked


def test_a_run_without_settings_is_the_one_that_plan_shows(planned, tmp_path, capsys):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), "--minutes", "5"]) == 143
    assert "planned; about 5 minutes: --widths 16 32 64, --padding same" in " ".join(capsys.readouterr().err.split())
    stored = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert main(["plan", "synthetic", "--minutes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == stored
    ((config, settings),) = planned
    assert stored["network"] == config.to_dict()
    assert stored["settings"]["steps"] == settings.optimisation.steps == pytest.approx(590, abs=30)


def test_the_plan_as_a_table(planned, capsys):
    assert main(["plan", "synthetic", "--minutes", "5", "--widths", "4", "8"]) == 0
    lines = capsys.readouterr().out
    assert "--widths          4 8" in lines
    assert "given" in lines
    assert "5 training images with a median size of 48x48" in " ".join(lines.split())


def test_half_an_hour_is_assumed_and_said(planned, tmp_path, capsys):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run")]) == 143
    said = " ".join(capsys.readouterr().err.split())
    assert "about 30 minutes, since neither --minutes nor --steps is given" in said
    assert planned[0][1].optimisation.steps == pytest.approx(3600, rel=0.05)


def test_flags_decide_otherwise(planned, tmp_path):
    flags = ["--widths", "4", "8", "--steps", "9", "--no-mirror", "--elastic", "5", "--ema", "0", "--seed", "3"]
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), *flags]) == 143
    config, settings = planned[0]
    assert (config.widths, settings.optimisation.steps, settings.optimisation.ema) == ((4, 8), 9, None)
    assert (settings.augmentation.mirror, settings.augmentation.elastic, settings.optimisation.seed) == (False, 5, 3)
    assert settings.augmentation.turns  # as planned


def test_a_network_that_is_named_is_kept(planned, tmp_path):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), "--preset", "same", "--steps", "9"]) == 143
    config, settings = planned[0]
    assert config.to_dict()["widths"] == [64, 128, 256, 512, 1024]
    assert settings.optimisation.batch == 4


@pytest.mark.parametrize("recipe", ["none", "modern", "paper-2015"])
def test_a_recipe_is_taken_as_it_is_and_its_time_is_kept(recipe, planned, tmp_path):
    run = ["train", "synthetic", "--recipe", recipe, "--widths", "4", "8", "--out"]
    assert main([*run, str(tmp_path / "run"), "--steps", "9"]) == 143
    assert main([*run, str(tmp_path / "timed"), "--minutes", "5"]) == 143
    (config, settings), (other, timed) = planned
    assert not (tmp_path / "run" / "plan.json").exists()
    assert config == other
    assert timed.replace(steps=9, validate_every=None) == settings
    assert timed.optimisation.steps > 300


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--minutes", "0"], "--minutes 0: it must be above 0"),
        (["--minutes", "5", "--steps", "9"], "--minutes 5 and --steps: give only one of them"),
        (["--processes", "2"], "several processes cannot plan by --minutes"),
    ],
)
def test_a_time_that_cannot_be_kept_is_refused(flags, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.commands.train.join_processes", lambda flags, say: flags)
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused_before_anything_is_planned(planned, tmp_path, monkeypatch, capsys):
    (tmp_path / "run.json").write_text("{}")
    monkeypatch.setattr("unet_tools.commands.train.plan_run", lambda *_: pytest.fail("planned"))
    assert main(["train", "synthetic", "--out", str(tmp_path)]) == 2
    assert "already contains a run" in capsys.readouterr().err


def test_a_network_is_no_data_set(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    for arguments in ([], [str(tmp_path)], [str(tmp_path / "config.json")]):
        assert main(["plan", *arguments]) == 2
        assert "give labelled images to plan a training; or a network, with --image SIZE" in capsys.readouterr().err


def test_flags_by_the_names_of_settings():
    words = ["data", "--no-mirror", "--learning-rate=3", "--norm", "none", "--norm-groups", "2", "--no-such"]
    assert given_flags(words) == ("mirror", "learning_rate", "norm", "norm_groups", "such")


def test_the_pixel_sizes_of_volumes_reach_the_plan(tmp_path, capsys):
    nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed; pip install 'unet-twins[nifti]'")
    dataset = membranes(3, 32, seed=0, spatial_dims=3)
    for folder, arrays in (("images", dataset.images), ("labels", dataset.labels)):
        (tmp_path / folder).mkdir()
        for number, array in enumerate(arrays or ()):
            planes = np.asarray(array, np.uint8).reshape(32, 32, 32)[:16].T  # (x, y, z), as NIfTI
            volume = nibabel.Nifti1Image(planes, np.diag([1, 1, 5, 1]))
            nibabel.save(volume, tmp_path / folder / f"v{number}.nii.gz")
    flags = ["--spatial-dims", "3", "--steps", "4"]
    assert main(["plan", str(tmp_path), *flags]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "kernels 1x3x3 1x3x3 3x3x3 3x3x3 volumes with a median size of 16x32x32; pixels of 5x1x1" in printed
    assert "strides 1x1x1 1x2x2 1x2x2 2x1x1" in printed
    assert "--tile 16x32x32 covers" in printed


@pytest.mark.parametrize(
    ("minutes", "said"), [(0.5, "30 seconds"), (2.99, "179 seconds"), (3, "3 minutes"), (30.4, "30 minutes")]
)
def test_a_time_below_three_minutes_is_said_in_seconds(minutes, said):
    plan = SimpleNamespace(minutes=minutes, choices=(), settings=TrainSettings())
    assert describe(plan, True).startswith(f"planned; about {said}: ")
    plan.minutes = None
    assert describe(plan, False) == "planned:  (unet plan DATA prints the reasons; flags override the plan)"


def test_a_plan_says_what_it_chose_as_flags_take_it():
    values = {
        "tile": (20, 128), "widths": (4, 8), "mirror": False, "turns": True, "learning_rate": 0.00012345678,
        "norm": "group", "steps": 12, "kernels": ((1, 3), (3, 3)), "dropout": 0.0, "validate_every": 7,
        "ema": 0.5, "batch": TrainSettings().optimisation.batch,
    }  # fmt: skip
    choices = [Choice(name, value, "", given=name == "ema") for name, value in values.items()]
    plan = SimpleNamespace(minutes=None, choices=choices, settings=TrainSettings().replace(validate_every=7))
    said = describe(plan, False).removeprefix("planned: ").partition(" (unet")[0].split(", ")
    assert said == [
        "--tile 20x128", "--widths 4 8", "--mirror off", "--turns on", "--learning-rate 0.000123457", "--norm group",
        "--steps 12", "kernels 1x3 3x3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"minutes": 1e-9}, False),
        ({"minutes": -1.0}, True),
        ({"minutes": float("nan")}, True),
        ({"minutes": float("inf")}, True),
        ({"minutes": 5.0, "distributed": ProcessFlags(processes=2)}, True),
        ({"minutes": 5.0, "distributed": ProcessFlags(processes=1)}, False),
        ({"recipe": "auto", "given": ("steps",), "distributed": ProcessFlags(processes=2)}, False),
        ({"recipe": "modern", "distributed": ProcessFlags(processes=2)}, False),
        ({"recipe": "auto", "distributed": ProcessFlags(processes=2)}, True),
    ],
)
def test_a_time_is_above_zero_and_for_one_process(changes, refused):
    args = TrainArgs(**changes)
    if refused:
        with pytest.raises(InputError):
            check_time(args)
    else:
        check_time(args)


@pytest.mark.parametrize(
    ("network", "weights", "named"),
    [
        ({}, None, False),
        ({"widths": (2, 4)}, None, False),
        ({"preset": "same"}, None, True),
        ({"config": Path("x")}, None, True),
        ({}, "w", True),
    ],
)
def test_a_network_is_named_by_preset_config_or_weights(network, weights, named):
    assert names_network(NetworkFlags(**network), TrainSettings().replace(weights=weights)) == named
