"""The preflight measurements of a bundle on a machine."""

import dataclasses
import json
import sys

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import OnnxRuntime, open_bundle, preflight
from unet_tools.cli import main


def test_what_runs_it_and_how_far_it_is(written, monkeypatch):
    module = sys.modules["unet_export.preflight"]  # the package has the function under this name
    monkeypatch.setattr(module, "resident", lambda: 10**9)
    monkeypatch.setattr(module, "peak_resident", lambda: 10**9 + 7)
    found = preflight(written, threads=1)
    assert (found.runtime, found.provider, found.precision) == ("onnx", "CPUExecutionProvider", "fp32")
    assert list(found.passed_over) == ["tensorrt"]
    assert found.tile == open_bundle(written).tile
    golden = np.load(written / "golden.npz")
    logits = OnnxRuntime(written / "model.onnx").run(golden["input"])
    error = np.abs(logits - golden["logits"]).max() / np.abs(golden["logits"]).max()
    assert found.worst_relative == pytest.approx(error, rel=0.5)
    assert (found.bound, found.least_agreement, found.label_agreement) == (1e-5, 0.9999, 1.0)
    pixels = np.prod(open_bundle(written).config.geometry.output_shape(found.tile))
    assert found.megapixels_per_second == pytest.approx(pixels / 1e6 / found.tile_seconds)
    assert 0 < found.tile_seconds < 60
    assert found.memory == 7
    assert found.ok
    assert not dataclasses.replace(found, worst_relative=2e-5).ok
    assert not dataclasses.replace(found, label_agreement=0.999).ok
    assert dataclasses.replace(found, worst_relative=2e-5, bound=None).ok


def test_the_command_says_it_and_fails_where_the_network_differs(written, capsys, monkeypatch):
    assert main(["check", str(written), "--preflight"]) == 0
    shown = capsys.readouterr().out
    assert "onnx CPUExecutionProvider fp32" in shown
    assert "the bundle has no engine" in shown
    assert "runs on this machine" in shown
    run = OnnxRuntime.run
    monkeypatch.setattr(OnnxRuntime, "run", lambda self, *a: run(self, *a) * 1.001)
    assert main(["check", str(written), "--preflight", "--json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert not shown["ok"]
    assert shown["worst_relative"] == pytest.approx(1e-3, rel=0.01)
    assert main(["check", str(written), "--preflight", "--images", "a.png"]) == 2
    assert "leave out --images" in capsys.readouterr().err
