"""unet evaluate --calibrate: a folder with the same classes and better probabilities in every runtime."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unet_data import membranes
from unet_data.metrics.calibration import MAX_TEMPERATURE, MIN_TEMPERATURE
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.weights.ensemble import join
from unet_spec.weights.temperature import with_temperature
from unet_tools.cli import main
from unet_tools.prediction.calibrated import RECORD, calibrate, calibration_lines

from ..commands.refusals import refused

CONFIG = preset("same", widths=(2, 3))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("unet_tools.arguments.data.SYNTHETIC", {2: (4, 48)})


def save(
    folder, config=CONFIG, seed=4
):  # some seeds give networks that are mostly wrong, which no temperature improves
    checkpoint = Checkpoint(config, random_tensors(config.graph, seed), DataSpec((0.5,), (0.2,), ("a", "b")))
    with_temperature(checkpoint, 0.2).save(folder)  # far too certain
    return folder


def evaluate(capsys, *arguments):
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["network", "ensemble"])
def test_the_calibrated_checkpoint_scores_better_and_segments_alike(kind, few, tmp_path, capsys):
    folder = save(tmp_path / "model")
    if kind == "ensemble":
        other = Checkpoint.load(save(tmp_path / "other", seed=3))
        join([Checkpoint.load(folder), other]).checkpoint.save(folder)
    digest = Checkpoint.load(folder).digest()
    before = evaluate(capsys, folder, "synthetic", "--calibrate", tmp_path / "new")
    after = evaluate(capsys, tmp_path / "new", "synthetic")
    assert Checkpoint.load(folder).digest() == digest
    assert after["nll"] < before["nll"]
    assert after["iou"] == before["iou"]
    record = json.loads((tmp_path / "new" / RECORD).read_text())
    assert record == before["calibration"]
    assert (record["images"], record["decisions"]) == (4, 4 * 48 * 48)
    for name in ("ece", "nll"):  # the sample is all of it here
        assert record["before"][name] == pytest.approx(before[name], rel=1e-5)
        assert record["after"][name] == pytest.approx(after[name], rel=1e-3)
    again = evaluate(capsys, tmp_path / "new", "synthetic", "--calibrate", tmp_path / "third")
    assert again["calibration"]["temperature"] == pytest.approx(1, abs=1e-3)
    for runtime in ("jax", "torch"):
        assert evaluate(capsys, tmp_path / "new", "synthetic", "--runtime", runtime)["nll"] == pytest.approx(
            after["nll"]
        )


def test_it_says_what_it_did_and_what_it_was_fitted_to(few, tmp_path, capsys):
    folder = save(tmp_path / "model")
    assert main(["evaluate", str(folder), "synthetic", "--calibrate", str(tmp_path / "new")]) == 0
    printed = capsys.readouterr()
    assert "temperature " in printed.err
    assert "the checkpoint with calibrated probabilities" in printed.err
    assert "object settings" not in printed.err
    assert "only if the network was not trained on them" in printed.err
    assert "ece" in printed.out
    assert "nll" in printed.out
    assert (
        main(["evaluate", str(folder), "synthetic", "--calibrate", str(tmp_path / "new"), "--subset", "validation"])
        == 0
    )
    assert "not trained on" not in capsys.readouterr().err
    record = {"temperature": 0.01, "before": {"ece": 0.1, "nll": 1.0}, "after": {"ece": 0.0, "nll": 0.0}}
    lines = calibration_lines(tmp_path, {"calibration": record | {"decisions": 3, "images": 1}})
    assert "the end of the search range" in lines[-1]


def test_object_settings_of_other_probabilities_are_named(tmp_path, capsys):
    folder = save(tmp_path / "model")
    stored = Checkpoint.load(folder)
    replace(stored, data=replace(stored.data, objects={"core": 0.8})).save(folder)
    counted: Any = SimpleNamespace(fitted=lambda: (2.0, {}, {}), sample=((), ()))
    calibrate(folder, tmp_path / "new", counted, membranes(1, 32, 0))
    assert "warning: the object settings were chosen for the probabilities before" in capsys.readouterr().err


def test_one_line_for_what_cannot_be_calibrated(few, tmp_path, capsys):
    folder = save(tmp_path / "model")
    out = tmp_path / "new"
    assert "the checkpoint itself" in refused(capsys, "evaluate", folder, "synthetic", "--calibrate", folder, "--json")
    line = refused(capsys, "evaluate", folder, "synthetic", "--calibrate", out, "--augment", "turns", "--json")
    assert "cannot be combined with --augment" in line
    config = preset("multiresunet", in_channels=1, widths=(4, 6))
    other = Checkpoint(config, random_tensors(config.graph, 0), DataSpec((0.5,), (0.2,)))
    replace(other, tensors={n: t.astype(np.float32) for n, t in other.tensors.items()}).save(tmp_path / "m")
    line = refused(capsys, "evaluate", tmp_path / "m", "synthetic", "--calibrate", out, "--json")
    assert "unet ensemble" in line
    assert not out.exists()


def lines(temperature):
    record = {"temperature": temperature, "before": {"ece": 0.12345, "nll": 1.5}, "after": {"ece": 0.01, "nll": 0.25}}
    return calibration_lines(Path("new"), {"calibration": record | {"decisions": 12345, "images": 7}})


def test_the_numbers_of_a_calibration():
    assert lines(1.23456) == [
        "temperature 1.235: ECE 0.1235 → 0.0100, negative log likelihood 1.5000 → 0.2500 on 12,345 pixels of 7 images",
        "new: the checkpoint with calibrated probabilities",
    ]


@pytest.mark.parametrize(
    ("factor", "of", "warned"),
    [(1.0, MIN_TEMPERATURE, True), (1.009, MIN_TEMPERATURE, True), (1.011, MIN_TEMPERATURE, False),
     (1.0, MAX_TEMPERATURE, True), (0.992, MAX_TEMPERATURE, True), (0.989, MAX_TEMPERATURE, False)],
)  # fmt: skip
def test_a_temperature_within_a_hundredth_of_the_end_of_the_search_is_a_warning(factor, of, warned):
    assert (len(lines(factor * of)) == 3) == warned
