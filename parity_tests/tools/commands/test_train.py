"""The command `unet train`: repeated, resumed, with other networks; its messages and refusals."""

import json

import numpy as np
import pytest
from PIL import Image

from unet_spec import Checkpoint, preset, random_tensors
from unet_tools.cli import main

from ...fixtures.no_training import STOPPED, without_training

CONFIG = preset("paper", widths=(2, 4))
NARROW = ["--widths", "2", "4"]
FLAGS = ["--steps", "2", "--tile", "28", "--no-report", "--json"]


@pytest.fixture
def asked(monkeypatch):
    return without_training(monkeypatch)


def stored(run):
    return json.loads((run / "run.json").read_text())


def test_a_command_repeated_with_resume_goes_on(tmp_path, asked, capsys):
    """The same flags, as when a queue restarts a killed job."""
    out = tmp_path / "run"
    command = ["train", "synthetic", "--out", str(out), "--recipe", "modern", "--preset", "paper", *NARROW, *FLAGS]
    assert main([*command, "--steps", "1", "--resume"]) == STOPPED
    assert "run has no saved state; starting at step 0" in capsys.readouterr().err.replace("\n", "")
    assert main([*command, "--resume"]) == STOPPED, capsys.readouterr().err
    assert "continuing from step 1" in capsys.readouterr().err
    assert stored(out)["network"]["norm"] == "batch"
    assert [call.resume for call in asked] == [True, True]


def test_the_norm_is_chosen_by_a_flag(tmp_path, asked, capsys):
    out = tmp_path / "run"
    command = ["train", "synthetic", "--out", str(out), "--recipe", "modern", "--widths", "8", "16", *FLAGS]
    assert main([*command, "--norm", "group"]) == STOPPED
    assert stored(out)["network"]["norm"] == "group"
    capsys.readouterr()
    for flags in (["--norm", "group"], ["--norm-groups", "2"], ["--dropout", "0.0"]):
        assert main([*command[:4], "--preset", "unet++", *flags]) == 2
        own = "dropout" if "--dropout" in flags else "normalisation"
        assert f"{' '.join(flags)}: unet++ has a fixed {own}" in capsys.readouterr().err
    narrow = [*command[:3], str(tmp_path / "narrow"), "--widths", "4", "8", "--norm", "group", *FLAGS]
    assert main(narrow) == 2
    assert "norm_groups is 8; it must be a divisor of every width" in capsys.readouterr().err
    assert main([*narrow, "--norm-groups", "2"]) == STOPPED
    assert stored(tmp_path / "narrow")["network"]["norm_groups"] == 2


def test_dropout_is_the_recipes_or_what_a_flag_says(tmp_path, asked, capsys):
    command = ["train", "synthetic", "--recipe", "paper-2015", *NARROW, *FLAGS]
    for flags, rate in ([], 0.5), (["--dropout", "0"], 0.0), (["--dropout", "0.2"], 0.2):
        out = tmp_path / str(rate)
        assert main([*command, "--out", str(out), *flags]) == STOPPED
        assert stored(out)["network"]["dropout"] == rate
    capsys.readouterr()
    assert main([*command, "--out", str(tmp_path / "x"), "--dropout", "1.5"]) == 2
    assert "dropout is 1.5" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_of_synthetic_images_is_evaluated_on_its_own_validation_images(tmp_path, capsys):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), *NARROW, *FLAGS, "--seed", "5"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    command = ["evaluate", str(tmp_path / "run" / "best"), "synthetic", "--subset", "validation", "--runtime", "jax"]
    for flags, same in (["--seed", "5"], True), ([], False):
        assert main([*command, "--json", *flags]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (abs(found["pixel_error"] - best["pixel_error"]) < 1e-9) == same


def test_a_resumed_run_takes_no_other_network(tmp_path, asked, capsys):
    out, other, net = tmp_path / "run", tmp_path / "other", tmp_path / "net.json"
    net.write_text(json.dumps(CONFIG.to_dict()))
    command = ["train", "synthetic", "--out", str(out), "--config", str(net), *FLAGS]
    assert main([*command, "--steps", "1"]) == STOPPED
    assert main([*command, "--resume"]) == STOPPED, capsys.readouterr().err  # the same flags
    assert main(["train", "synthetic", "--out", str(other), "--widths", "3", "5", *FLAGS]) == STOPPED
    again = ["train", "--out", str(out), "--resume", *FLAGS, "--config"]
    net.write_text(json.dumps(CONFIG.replace(widths=(3, 6)).to_dict()))
    for config, printed in [
        (net, "was trained with widths [2, 4], not [3, 6]"),
        (other / "run.json", "was trained with widths [2, 4], not [3, 5]"),
        (tmp_path / "none.json", "none.json"),
    ]:
        capsys.readouterr()
        assert main([*again, str(config)]) == 2
        assert printed in capsys.readouterr().err
    assert main([*again, str(out / "run.json")]) == STOPPED


def test_a_repetition_goes_on_where_one_says_which(tmp_path, asked, capsys):
    out = tmp_path / "run"
    assert main(["train", "synthetic", "--out", str(out), *NARROW, *FLAGS]) == STOPPED
    capsys.readouterr()
    assert main(["train", "--config", str(out / "run.json"), "--resume", "--json"]) == 2
    assert "--resume needs --out, the run to continue" in capsys.readouterr().err
    assert not (tmp_path / "run-2").exists()
    repeat = ["train", "--config", str(out / "run.json"), "--out", str(tmp_path / "again"), "--resume", "--json"]
    assert [main(repeat), main(repeat)] == [STOPPED, STOPPED]
    assert "continuing from step 2" in capsys.readouterr().err
    assert asked[1].settings == asked[0].settings
    assert asked[1].config == asked[0].config


def test_a_stored_network_keeps_what_no_flag_changes(tmp_path, asked, capsys):
    out, again = tmp_path / "run", tmp_path / "again"
    flags = ["--preset", "same", *NARROW, *FLAGS]
    assert main(["train", "synthetic", "--out", str(out), *flags]) == STOPPED
    run = ["train", "--config", str(out / "run.json"), "--out", str(again)]
    assert main([*run, "--widths", "3", "5", *FLAGS]) == STOPPED
    assert stored(again)["network"] == stored(out)["network"] | {"widths": [3, 5]}
    capsys.readouterr()
    assert main([*run, "--recipe", "modern"]) == 2
    assert "leave out --recipe" in capsys.readouterr().err


def test_a_class_that_cannot_be_learnt_is_reported(tmp_path, asked, capsys):
    data, rng = tmp_path / "data", np.random.default_rng(0)
    for name, classes in [(f"a{k}", 2) for k in range(5)] + [("b", 3)]:  # the last sixth validates
        for kind, top in (("images", 256), ("labels", classes)):
            (data / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, top, (40, 40)).astype(np.uint8)).save(data / kind / f"{name}.png")
    command = ["train", str(data), "--out", str(tmp_path / "run"), "--validate", "last", *NARROW, *FLAGS]
    assert main(command) == STOPPED
    assert "class 2 (class 2) has no pixel in the training part" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "printed"),
    [
        (["--coordinator", "localhost:9", "--process", "1"], "--processes 1 --process 1: number the processes"),
        (["--processes", "2", "--process", "2"], "from 0 to N - 1"),
        (["--processes", "2"], "cannot join 2 processes"),
    ],
)
def test_processes_that_cannot_meet_are_one_line(flags, printed, tmp_path, capsys):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), *flags]) == 2
    line = capsys.readouterr().err
    assert printed in line
    assert line.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_one_line_with_tensorboard_too(tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert main(["train", "synthetic", "--out", str(out), "--log", "tensorboard", *NARROW, *FLAGS]) == 1
    assert "cannot write the run folder" in capsys.readouterr().err


def test_a_checkpoint_as_config_gives_its_network_and_says_that_its_weights_are_not_taken(
    tmp_path, checkpoint, asked, capsys
):
    command = ["train", "synthetic", "--tile", "44", *FLAGS[:2], *FLAGS[4:]]
    assert main([*command, "--out", str(tmp_path / "a"), "--config", str(checkpoint)]) == STOPPED
    said = f"with new weights; --weights {checkpoint} starts from its weights"
    assert capsys.readouterr().err.count(said) == 1
    run = stored(tmp_path / "a")
    assert run["network"]["widths"] == [2, 3, 4]
    assert run["settings"]["weights"] is None
    for number, flags in enumerate((["--weights", str(checkpoint)], ["--config", str(checkpoint / "config.json")])):
        assert main([*command, "--out", str(tmp_path / str(number)), *flags]) == STOPPED
        assert "with new weights" not in capsys.readouterr().err
    assert stored(tmp_path / "0")["settings"]["weights"] == str(checkpoint)


def test_the_folder_of_a_run_as_config_names_both_ways_on(tmp_path, asked, capsys):
    out = tmp_path / "run"
    assert main(["train", "synthetic", "--out", str(out), *NARROW, *FLAGS]) == STOPPED
    capsys.readouterr()
    assert main(["train", "synthetic", "--out", str(tmp_path / "new"), "--config", str(out), *FLAGS]) == 2
    said = capsys.readouterr().err
    assert "give its run.json to --config to repeat the run" in said
    assert "its best/ to --weights to start from its weights" in said
    assert not (tmp_path / "new").exists()
    assert main(["train", "--config", str(out / "run.json"), "--out", str(tmp_path / "new"), "--no-report"]) == STOPPED
    assert stored(tmp_path / "new")["network"] == stored(out)["network"]


def test_what_a_run_takes_of_weights_is_printed_and_resume_takes_no_others(tmp_path, capsys, asked):
    other, same = CONFIG.replace(out_channels=3, dropout=0.0), CONFIG.replace(dropout=0.0)
    for name, config in ("other", other), ("same", same):
        Checkpoint(config, random_tensors(config.graph, 0)).save(tmp_path / name)
    run = ["train", "synthetic", "--out", str(tmp_path / "run"), "--tile", "28", "--no-report", "--weights"]
    assert main([*run, str(tmp_path / "other"), "--freeze", "encoder"]) == STOPPED
    printed = capsys.readouterr().err
    count = len(other.graph.params)
    assert f"weights of {tmp_path / 'other'}: {count - 2} of {count} tensors used" in printed
    assert "weights: 1 layer is initialised at random: head" in printed
    assert "trained with normalization none, this run has dataset (--normalization none)" in printed
    assert "frozen: encoder" in printed
    assert asked[-1].config.widths == (2, 4)
    assert (
        main([*run, str(tmp_path / "other"), "--freeze", "encoder", "--resume"]) == STOPPED
    )  # as when a queue restarts it
    assert "tensors used" not in capsys.readouterr().err
    assert main([*run, str(tmp_path / "same"), "--freeze", "encoder", "--resume"]) == 2
    printed = capsys.readouterr().err
    assert f"--weights {tmp_path / 'same'} with --resume" in printed
    assert "continues with its own weights; leave out --weights" in printed
    assert printed.count("\n") == 1
