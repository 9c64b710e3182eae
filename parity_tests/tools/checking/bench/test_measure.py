"""The name of the processor and its peak."""

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed; pip install 'unet-twins[report]'")
from unet_tools.checking.bench import measure as bench_measure
from unet_tools.checking.bench.hardware import processor

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
    ("printed", "name"),
    [
        (CPUS, "x86_64 (AMD EPYC, family 25 model 17)"),
        ("processor\t: 0\nmodel name\t: ARMv8: a core\n", "x86_64 (ARMv8: a core)"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", "x86_64"),
        ("", "x86_64"),
        (None, "x86_64"),
    ],
)
def test_the_processor_is_named_as_far_as_the_system_tells(printed, name, tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    if printed is not None:
        (tmp_path / "cpuinfo").write_text(printed)
    assert processor(tmp_path / "cpuinfo") == name


def test_a_processor_s_peak_is_no_gpu_s(monkeypatch):
    monkeypatch.setattr(bench_measure, "gpus", lambda: ["Some GPU"])
    assert bench_measure.measured_peak() is None
