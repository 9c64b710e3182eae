"""The command `unet train`: repeated, resumed, with other networks; what it tells and refuses."""

import json

import numpy as np
import pytest
from PIL import Image

from unet_spec import preset
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4))
NARROW = ["--widths", "2", "4"]
FLAGS = ["--steps", "2", "--tile", "28", "--no-report", "--json"]


def test_a_command_repeated_with_resume_goes_on(tmp_path, capsys):
    """As a queue that starts a killed job again does it: the very same flags."""
    out = tmp_path / "run"
    command = ["train", "synthetic", "--out", str(out), "--recipe", "modern", "--preset", "paper", "--widths", "2", "4"]
    assert main([*command, *FLAGS, "--steps", "1", "--resume"]) == 0
    assert "run holds no saved state: from the beginning" in capsys.readouterr().err.replace("\n", "")
    assert main([*command, *FLAGS, "--resume"]) == 0, capsys.readouterr().err
    assert "going on from step 1" in capsys.readouterr().err
    assert json.loads((out / "run.json").read_text())["network"]["norm"] == "batch"


def test_the_norm_is_chosen_by_a_flag(tmp_path, capsys):
    out = tmp_path / "run"
    command = ["train", "synthetic", "--out", str(out), "--recipe", "modern", "--widths", "8", "16", *FLAGS]
    assert main([*command, "--norm", "group"]) == 0
    assert json.loads((out / "run.json").read_text())["network"]["norm"] == "group"
    capsys.readouterr()
    for flags in (["--norm", "group"], ["--norm-groups", "2"], ["--dropout", "0.0"]):
        assert main([*command[:4], "--preset", "unet++", *flags]) == 2
        own = "dropout" if "--dropout" in flags else "normalisation"
        assert f"{' '.join(flags)}: unet++ has its own {own}" in capsys.readouterr().err
    narrow = [*command[:3], str(tmp_path / "narrow"), "--widths", "4", "8", "--norm", "group", *FLAGS]
    assert main(narrow) == 2
    assert "norm_groups is 8; it must be a divisor of every width" in capsys.readouterr().err
    assert main([*narrow, "--norm-groups", "2"]) == 0
    assert json.loads((tmp_path / "narrow" / "run.json").read_text())["network"]["norm_groups"] == 2


def test_dropout_is_the_recipes_or_what_a_flag_says(tmp_path, capsys):
    for flags, rate in ([], 0.5), (["--dropout", "0"], 0.0), (["--dropout", "0.2"], 0.2):
        out = tmp_path / str(rate)
        assert main(["train", "synthetic", "--out", str(out), "--recipe", "paper-2015", *flags, *NARROW, *FLAGS]) == 0
        assert json.loads((out / "run.json").read_text())["network"]["dropout"] == rate
    capsys.readouterr()
    assert main(["train", "synthetic", "--out", str(tmp_path / "x"), "--dropout", "1.5", *NARROW, *FLAGS]) == 2
    assert "dropout is 1.5" in capsys.readouterr().err


def test_a_run_of_synthetic_images_is_evaluated_on_its_own_validation_images(tmp_path, capsys):
    assert (
        main(["train", "synthetic", "--out", str(tmp_path / "run"), "--widths", "2", "4", *FLAGS, "--seed", "5"]) == 0
    )
    best = json.loads(capsys.readouterr().out)["best"]
    command = ["evaluate", str(tmp_path / "run" / "best"), "synthetic", "--subset", "validation", "--runtime", "jax"]
    for flags, same in (["--seed", "5"], True), ([], False):
        assert main([*command, "--json", *flags]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (abs(found["pixel_error"] - best["pixel_error"]) < 1e-9) == same


def test_a_resumed_run_takes_no_other_network(tmp_path, capsys):
    out, other, net = tmp_path / "run", tmp_path / "other", tmp_path / "net.json"
    net.write_text(json.dumps(CONFIG.to_dict()))
    command = ["train", "synthetic", "--out", str(out), "--config", str(net), *FLAGS]
    assert main([*command, "--steps", "1"]) == 0
    assert main([*command, "--resume"]) == 0, capsys.readouterr().err  # the very same flags
    assert main(["train", "synthetic", "--out", str(other), "--widths", "3", "5", *FLAGS]) == 0
    again = ["train", "--out", str(out), "--resume", *FLAGS, "--config"]
    net.write_text(json.dumps(CONFIG.replace(widths=(3, 6)).to_dict()))
    for config, told in [
        (net, "was trained with widths [2, 4], not [3, 6]"),
        (other / "run.json", "was trained with widths [2, 4], not [3, 5]"),
        (tmp_path / "none.json", "none.json"),
    ]:
        capsys.readouterr()
        assert main([*again, str(config)]) == 2
        assert told in capsys.readouterr().err
    assert main([*again, str(out / "run.json")]) == 0


def test_a_repetition_goes_on_where_one_says_which(tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "synthetic", "--out", str(out), "--widths", "2", "4", *FLAGS]) == 0
    capsys.readouterr()
    assert main(["train", "--config", str(out / "run.json"), "--resume", "--json"]) == 2
    assert "--resume needs --out: the run to go on with" in capsys.readouterr().err
    assert not (tmp_path / "run-2").exists()
    repeat = ["train", "--config", str(out / "run.json"), "--out", str(tmp_path / "again"), "--resume", "--json"]
    assert [main(repeat), main(repeat)] == [0, 0]
    assert "going on from step 2" in capsys.readouterr().err


def test_a_stored_network_keeps_what_no_flag_changes(tmp_path, capsys):
    out, again = tmp_path / "run", tmp_path / "again"
    flags = ["--preset", "same", "--widths", "2", "4", *FLAGS]
    assert main(["train", "synthetic", "--out", str(out), *flags]) == 0
    run = ["train", "--config", str(out / "run.json"), "--out", str(again)]
    assert main([*run, "--widths", "3", "5", *FLAGS]) == 0
    first, second = (json.loads((f / "run.json").read_text())["network"] for f in (out, again))
    assert second == first | {"widths": [3, 5]}
    capsys.readouterr()
    assert main([*run, "--recipe", "modern"]) == 2
    assert "leave out --recipe" in capsys.readouterr().err


def test_a_class_that_cannot_be_learnt_is_told(tmp_path, capsys):
    data, rng = tmp_path / "data", np.random.default_rng(0)
    for name, classes in [(f"a{k}", 2) for k in range(5)] + [("b", 3)]:  # the last sixth validates
        for kind, top in (("images", 256), ("labels", classes)):
            (data / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, top, (40, 40)).astype(np.uint8)).save(data / kind / f"{name}.png")
    assert main(["train", str(data), "--out", str(tmp_path / "run"), "--widths", "2", "4", *FLAGS]) == 0
    assert "class 2 (class 2) has no pixel in the training part" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--coordinator", "localhost:9", "--process", "1"], "--processes 1 --process 1: of several processes"),
        (["--processes", "2", "--process", "2"], "below their number"),
        (["--processes", "2"], "cannot join 2 processes"),
    ],
)
def test_processes_that_cannot_meet_are_one_line(flags, told, tmp_path, capsys):
    assert main(["train", "synthetic", "--out", str(tmp_path / "run"), *flags]) == 2
    line = capsys.readouterr().err
    assert told in line
    assert line.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_one_line_with_tensorboard_too(tmp_path, capsys):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    assert main(["train", "synthetic", "--out", str(out), "--tensorboard", "--widths", "2", "4", *FLAGS]) == 2
    assert "cannot write the run folder" in capsys.readouterr().err
