"""`unet bench`: every runtime in its own process, in turn; JSON and a picture; what does not run here says why."""

import json

import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed; pip install 'unet-twins[report]'")

from unet_export import write_bundle
from unet_export.cuda_device import Device
from unet_tools import bench_measure
from unet_tools.cli import main

CONFIG = PRESETS["paper"].replace(widths=(2, 4))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2), DataSpec((0.5,), (0.2,)))
    return write_bundle(point, tmp_path_factory.mktemp("bench") / "bundle", engines=False)


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


CPUS = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC

processor\t: 1
model\t\t: 99
model name\t: another
"""


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (CPUS, "x86_64 (AMD EPYC, family 25 model 17)"),
        ("processor\t: 0\nmodel name\t: ARMv8: a core\n", "x86_64 (ARMv8: a core)"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", "x86_64"),
        ("", "x86_64"),
        (None, "x86_64"),
    ],
)
def test_the_processor_is_named_as_far_as_the_system_tells(told, name, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    if told is not None:
        (tmp_path / "cpuinfo").write_text(told)
    assert bench_measure.processor(tmp_path / "cpuinfo") == name


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


def test_a_processor_s_peak_is_no_gpu_s(monkeypatch):
    monkeypatch.setattr(bench_measure, "find_device", lambda: Device("Some GPU", "89"))
    assert bench_measure.measured_peak() is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--rounds", "0"), "rounds is 0; it must be at least 1"),
        (("--size", "29"), "nearest valid"),
        (("--runtimes", "caffe"), "unknown runtime 'caffe'; there are onnx, tensorrt"),
        (("--out", "no/such/bench.json"), "give a .json file in a folder that exists"),
    ],
)
def test_bad_settings_are_told_before_anything_is_measured(bundle, arguments, told, capsys, monkeypatch):
    def never(*_):
        raise InputError("measured")

    monkeypatch.setattr(bench_measure, "measured_peak", never)
    assert main(["bench", str(bundle.folder), *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
