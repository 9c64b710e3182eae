"""The final report of `unet train`, and its exit code."""

import json
import signal
import sys

import numpy as np
import pytest

import unet_tools.commands.train as command
from unet_data import split
from unet_data.metrics.evaluate import measure
from unet_jax.registry import from_pretrained
from unet_jax.runtime import JaxRuntime
from unet_jax.training.loop import TrainResult
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.arguments.data import open_data
from unet_tools.cli import main

from ...fixtures.no_training import STOPPED, without_training

NARROW = preset("paper", widths=(2, 4), dropout=0.0)
FLAGS = ["--recipe", "none", "--steps", "2", "--tile", "28", "--widths", "2", "4", "--no-report"]


def test_a_run_that_went_on_otherwise_says_so(tmp_path, monkeypatch, capsys):
    without_training(monkeypatch)
    run, again = tmp_path / "run", ["train", "--out", str(tmp_path / "run"), "--resume", "--no-report", "--json"]
    assert main(["train", "synthetic", "--out", str(run), *FLAGS, "--json"]) == STOPPED
    first = (run / "run.json").read_bytes()
    assert json.loads(first)["changed"] == []
    assert main([*again, "--learning-rate", "0.5"]) == STOPPED  # no step remains
    assert (run / "run.json").read_bytes() == first
    assert main([*again, "--steps", "3", "--learning-rate", "0.5"]) == STOPPED
    assert "now spans 3 steps instead of 2" in capsys.readouterr().err
    assert main([*again, "--steps", "4"]) == STOPPED
    stored = json.loads((run / "run.json").read_text())
    assert stored["changed"] == [
        {"after": 2, "steps": [2, 3], "learning_rate": [None, 0.5]},
        {"after": 3, "steps": [3, 4]},
    ]
    assert (stored["settings"]["steps"], stored["settings"]["learning_rate"]) == (4, 0.5)
    capsys.readouterr()
    assert main(["train", "--config", str(run / "run.json"), "--no-report", "--json"]) == STOPPED
    assert (
        "was resumed with other settings (steps 2 → 3; learning_rate None → 0.5 after step 2)"
        in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "run-2" / "run.json").read_text())["changed"] == []
    assert main(["train", "--config", str(tmp_path / "run-2" / "run.json"), "--no-report", "--json"]) == STOPPED
    assert "was resumed with other settings" not in capsys.readouterr().err


@pytest.fixture
def two_checkpoints(tmp_path, monkeypatch):
    """A run whose best/ and last/ are different networks, without training."""
    out, (_, validation) = tmp_path / "run", split(open_data("synthetic"))
    for seed, name in enumerate(("best", "last")):
        tensors = random_tensors(NARROW.graph, seed, np.float32)
        Checkpoint(NARROW, tensors, DataSpec((0.5,), (0.2,), validation.class_names)).save(out / name)
    scores = {"pixel_error": 0.123, "iou": 0.456}
    (out / "run.json").write_text('{"of": "the run"}')
    log = [{"step": 2, "pixel_accuracy": 0.877, "iou": 0.456}]
    monkeypatch.setattr(command, "train", lambda *_: TrainResult(out, scores, {"iou": 0.9}, log, None))
    best = from_pretrained(out / "best")
    return out, measure(JaxRuntime(best).run, NARROW, best.data, validation, objects=True)


def test_scores_are_printed_of_the_best_and_of_the_last(two_checkpoints, capsys):
    out, best = two_checkpoints
    run = ["train", "synthetic", "--out", str(out), *FLAGS]
    assert main(run) == 0
    table = capsys.readouterr().out
    row = next(line.split() for line in table.splitlines() if line.startswith("pixel_error"))
    assert row == ["pixel_error", f"{best['pixel_error']:.4f}", "0.1230"]
    assert main([*run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"]["pixel_error"] == pytest.approx(best["pixel_error"])
    assert found["best"]["v_rand"] == pytest.approx(best["v_rand"])
    assert found["scores"] == {"pixel_error": 0.123, "iou": 0.456}
    verdict = found["verdict"]
    assert verdict["lines"][0].endswith(f"mean IoU {best['iou']:.3f} (0.{table.split('(0.')[2][:3]})")
    assert all(line in table for line in [*verdict["lines"], f"next: {verdict['next']}"])
    assert verdict["next"].startswith("unet predict" if verdict["useful"] else "unet train")
    assert json.loads((out / "run.json").read_text()) == {"of": "the run", "verdict": verdict}
    for one in found["classes"]:
        row = next(line.split() for line in table.splitlines() if line.startswith(one["name"]))
        assert row[1:] == [f"{one[key]:.4f}" for key in ("iou", "dice", "share", "predicted")]
    assert [one["name"] for one in found["classes"]] == ["membrane", "cell"]


def test_scores_are_printed_where_the_report_cannot_be_drawn(two_checkpoints, monkeypatch, capsys):
    out, best = two_checkpoints
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # an import of it fails
    assert main(["train", "synthetic", "--out", str(out), *FLAGS[:-1]]) == 0
    printed = capsys.readouterr()
    assert f"{best['pixel_error']:.4f}" in printed.out
    needed = "no report.html: matplotlib is not installed; pip install 'unet-twins[report]'; then: unet report"
    assert needed in printed.err
    assert "verdict" in json.loads((out / "run.json").read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_with_the_signals_exit_code(number, tmp_path, monkeypatch, capsys):
    out = tmp_path / "a run"
    out.mkdir()
    (out / "run.json").write_text("{}")
    log = [{"step": 1, "pixel_accuracy": 0.877, "iou": 0.456}]
    monkeypatch.setattr(command, "train", lambda *_: TrainResult(out, {}, {}, log, number))
    assert main(["train", "synthetic", "--out", str(out), *FLAGS]) == 128 + number
    printed = capsys.readouterr().err
    assert f"unet train synthetic --out '{out}' --resume" in printed
    assert "stopped after step 1 of 2" in printed
    assert not json.loads((out / "run.json").read_text())["verdict"]["complete"]
