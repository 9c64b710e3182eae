"""`unet train`, then every command that uses the result."""

from __future__ import annotations

import json
import re

import pytest

from unet_tools.cli import main


def test_train_resume_evaluate_predict_and_check(data, tmp_path, capsys):
    run = tmp_path / "run"
    flags = ["--preset", "paper", "--widths", "2", "4", "--steps", "4", "--validate-every", "2", "--tile", "36"]
    assert main(["train", str(data), "--out", str(run), *flags, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["best"]) >= {"pixel_accuracy", "iou", "dice"}
    assert {p.name for p in run.iterdir()} >= {"best", "last", "log.jsonl", "run.json", "state"}
    assert main(["train", str(data), "--out", str(run), *flags]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["train", str(data), "--out", str(run), "--resume", "--steps", "6", "--json"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run / "best"), str(data), "--subset", "validation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 1
    assert main(["check", str(run / "last"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]


@pytest.mark.slow
def test_training_tells_what_it_does(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("unet_tools.progress.LINE_EVERY", 0.0)
    flags = ["--widths", "2", "4", "--steps", "3", "--tile", "36", "--log-every", "1", "--no-report"]
    flags += ["--recipe", "none"]
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *flags]) == 0
    lines = capsys.readouterr().err.splitlines()
    printed = (
        r"U-Net, \d+ parameters, on \d+ x .+; 3 image\(s\) for training, 1 for validation; a step has "
        r"1 tile\(s\) of 36x36"
    )
    assert re.fullmatch(printed, lines[0])
    assert lines[1] == f"{data}: 2 classes: background, foreground"
    assert lines[2] == "validation: 1 of 4 images, the last sixth (d)"
    assert lines[3] == "files: 8 paired, 0 left out"
    assert re.fullmatch(r"compiled programs are cached in .+ \(--compilation-cache none: no cache\)", lines[4])
    assert lines[5] == "compiling the training step, 1 tile(s) of 36x36, once; this may take minutes"
    assert re.fullmatch(r"compiled in \d+ s(, since an earlier run compiled it)?", lines[6])
    number = r"\d\.\d{4}"
    losses = rf"step 2 of 3: loss {number}, validation loss {number}, "
    assert re.fullmatch(losses + r"learning rate 7\.5e-04, \d+\.\d images/s, 0:00:0\d left", lines[9])
    assert re.fullmatch(
        rf"step 3: pixel accuracy {number}  iou {number}  dice {number}  validation loss {number}", lines[12]
    )
