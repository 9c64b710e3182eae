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
from unet_tools.checking.bench.measure import Timing
from unet_tools.cli import main
from unet_tools.commands import bench

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


VALUES = {"input": [2, 28, 30], "output": [2, 12, 14], "rounds": 3, "peak_gflops": 1234.4, "hardware": "2 cores"}
TIMINGS = [
    Timing("onnx fp32", "", 1.5, 0.0121, 0.0219, 82.644, 13.884, 0.0302, 5 * 2**20 + 2**18, 0.0446),
    Timing("jax", "JAX is not installed"),
    Timing("torch", "", 1.5, 2.0, 3.0, 0.5, 0.125, 4.0),
]


def test_the_table_has_milliseconds_and_rates_below_their_headings(capsys):
    bench.show(VALUES, TIMINGS)
    title, head, *rows, last = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert title == "2x28x30 → 2x12x14, 3 rounds"
    columns = ("runtime", "p50 ms", "p99 ms", "images/s", "Mpx/s", "end to end ms", "MiB", "of peak", "note")
    ends = [head.index(name) + len(name) for name in columns]
    numbers = (
        ("onnx fp32", "12", "22", "82.64", "13.88", "30", "5", "4%"),
        ("torch", "2000", "3000", "0.50", "0.12", "4000", "", ""),
    )
    for row, expected in zip((rows[0], rows[2]), numbers, strict=True):
        assert row.split() == " ".join(expected).split()
        assert all(row[:end].endswith(text) for end, text in list(zip(ends, expected, strict=False))[1:]), row
    assert rows[1].split(maxsplit=1) == ["jax", "JAX is not installed"]
    assert last == "peak: 1234 GFLOP/s in a float32 matrix product; 2 cores"
    bench.show(VALUES | {"peak_gflops": None}, TIMINGS)
    assert capsys.readouterr().out.splitlines()[-1] == "peak: see python -m benchmarks.gpu; 2 cores"


def test_the_chart_has_a_bar_for_each_runtime_that_ran_the_first_on_top(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, dpi: figures.append((self, dpi)) or path.touch())
    bench.write(tmp_path / "b.json", VALUES, TIMINGS)
    [(figure, dpi)] = figures
    [axes] = figure.axes
    assert (figure.get_size_inches().tolist(), dpi) == ([7, 0.45 * 2 + 1], 120)
    assert [bar.get_width() for bar in axes.patches] == [82.644, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["onnx fp32", "torch"]
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "images per second, network only, input 2x28x30"
    assert axes.get_title() == "2 cores"
    assert json.loads((tmp_path / "b.json").read_text()) == VALUES


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
