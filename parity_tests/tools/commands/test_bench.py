"""`unet bench`: each runtime is measured, or the reason is reported."""

import json
import sys

import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed; pip install 'unet-twins[report]'")
from unet_export import BundleSettings, write_bundle
from unet_tools.checking.bench import measure as bench_measure
from unet_tools.cli import main

CONFIG = PRESETS["paper"].replace(widths=(2, 4))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2), DataSpec((0.5,), (0.2,)))
    return write_bundle(point, tmp_path_factory.mktemp("bench") / "bundle", BundleSettings(engines=False))


@pytest.mark.slow
def test_each_runtime_is_measured_or_says_why_not(bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_measure, "measured_peak", lambda: 1e9)
    monkeypatch.setattr(bench_measure, "_names", lambda *_: ["onnx fp32", "tensorrt fp16"])  # it has no such engine
    out = tmp_path / "bench.json"
    assert main(["bench", str(bundle.folder), "--size", "28", "--batch", "2", "--rounds", "3", "--out", str(out)]) == 0
    found = json.loads(out.read_text())
    assert (found["input"], found["output"], found["rounds"]) == ([2, 28, 28], [2, 12, 12], 3)
    assert found["multiply_adds"] == sum(CONFIG.graph.macs((28, 28)).values())
    ran, not_run = found["timings"]
    assert ran["runtime"] == "onnx fp32"
    assert 0 < ran["p50"] <= ran["p99"]
    assert ran["images_per_second"] == pytest.approx(2 / ran["p50"])
    assert ran["megapixels_per_second"] == pytest.approx(2 * 12 * 12 / ran["p50"] / 1e6)
    assert ran["peak_share"] == pytest.approx(2 * 2 * found["multiply_adds"] / ran["p50"] / 1e9)
    assert ran["end_to_end_p50"] > 0
    assert ran["peak_bytes"] > 2**20
    assert not_run["p50"] is None
    assert "has no fp16; it has fp32" in not_run["note"]
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert "onnx fp32" in capsys.readouterr().out


def test_without_matplotlib_the_measurement_is_kept_and_no_file_is_replaced_unasked(
    bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(bench_measure, "measured_peak", lambda: 1e9)
    monkeypatch.setattr(bench_measure, "_names", lambda *_: ["onnx fp32"])
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    command = ["bench", str(bundle.folder), "--size", "28", "--rounds", "1", "--out", str(tmp_path / "b.json")]
    assert main(command) == 0
    assert "without a chart" in " ".join(capsys.readouterr().err.split())
    assert [p.name for p in tmp_path.iterdir()] == ["b.json"]
    monkeypatch.setattr(bench_measure, "bench_bundle", lambda *_: pytest.fail("the check comes first"))
    before = (tmp_path / "b.json").read_text()
    assert main(command) == 2
    assert "b.json exists; --overwrite replaces it" in capsys.readouterr().err
    (tmp_path / "b.json").rename(tmp_path / "kept.json")
    (tmp_path / "b.png").write_text("mine")
    assert main(command) == 2
    assert "b.png exists" in capsys.readouterr().err
    assert json.loads(before)["timings"][0]["runtime"] == "onnx fp32"


@pytest.mark.slow
def test_every_contender_runs_or_says_why(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bench_measure, "measured_peak", lambda: 1e9)
    out = tmp_path / "bench.json"
    assert main(["bench", str(bundle.folder), "--size", "28", "--rounds", "2", "--out", str(out)]) == 0
    found = {t["runtime"]: t for t in json.loads(out.read_text())["timings"]}
    assert set(found) == {"onnx fp32", "openvino", "torch", "torch-compile", "jax"}, "the bundle has no engine"
    assert all((t["p50"] is None) == bool(t["note"]) for t in found.values()), found
    for name in ("torch", "jax"):
        assert found[name]["p50"] or "is not installed" in found[name]["note"], found[name]


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (("--rounds", "0"), "rounds is 0; it must be at least 1"),
        (("--size", "29"), "nearest valid"),
        (("--runtimes", "caffe"), "unknown runtime 'caffe'; allowed: onnx, tensorrt"),
        (("--out", "no/such/bench.json"), "give a .json file in a folder that exists"),
    ],
)
def test_bad_settings_are_reported_before_anything_is_measured(bundle, arguments, printed, capsys, monkeypatch):
    def never(*_):
        raise InputError("measured")

    monkeypatch.setattr(bench_measure, "measured_peak", never)
    assert main(["bench", str(bundle.folder), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert printed in line
