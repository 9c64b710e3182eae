"""The name of the processor, its peak, and what is measured of each runtime."""

import math
import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("matplotlib", reason="matplotlib is not installed; pip install 'unet-twins[report]'")
from unet_spec import InputError, preset
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


class Clock:
    """A clock that only the test moves."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(bench_measure.time, "perf_counter", lambda: self.now)


def test_runs_take_turns_and_the_first_ones_do_not_count(monkeypatch):
    clock, order = Clock(monkeypatch), []
    one = iter([9.0, 9.0, 1.0, 9.0, 3.0, 9.0, 2.0])  # the warm-up, then a run that is not timed before each that is

    def slow(times):
        order.append(("slow", times))
        clock.now += next(one) * times

    def quick(times):
        order.append(("quick", times))
        clock.now += 0.25 * times

    assert bench_measure.in_turns({"slow": slow, "quick": quick}, rounds=3, repeats=4) == {"slow": 2.0, "quick": 0.25}
    turn = [("slow", 1), ("slow", 4), ("quick", 1), ("quick", 4)]
    assert order == [("slow", 1), ("quick", 1), *turn * 3]


def test_the_peak_is_the_fastest_of_five_products(monkeypatch):
    clock, takes = Clock(monkeypatch), iter([4.0, 0.5, 2.0, 1.0, 3.0])
    monkeypatch.setattr(bench_measure, "gpus", list)

    def product(a, b):
        assert a.dtype == b.dtype == np.float32
        clock.now += next(takes)

    monkeypatch.setattr(bench_measure.np, "matmul", product)
    assert bench_measure.measured_peak(10) == 2 * 10**3 / 0.5


def test_each_number_of_a_timing_is_the_one_that_its_name_says():
    child = SimpleNamespace(name="onnx fp32", error="", first=7.0, peak_bytes=123)
    seconds = {"network": [0.5, 0.1, 0.2, 0.3, 0.4], "end_to_end": [3.0, 1.0, 2.0]}
    timing = bench_measure._timing(child, seconds, batch=6, pixels=12_000_000, flops=900, peak=1000.0)
    assert timing == bench_measure.Timing(
        "onnx fp32", "", first=7.0, p50=0.3, p99=pytest.approx(0.496), images_per_second=pytest.approx(20.0),
        megapixels_per_second=pytest.approx(40.0), end_to_end_p50=2.0, peak_bytes=123, peak_share=pytest.approx(3.0),
    )  # fmt: skip
    assert bench_measure._timing(child, seconds, 6, 12, 900, None).peak_share is None
    child.error = "not installed"
    assert bench_measure._timing(child, {}, 6, 12, 900, 1.0) == bench_measure.Timing("onnx fp32", "not installed")


def test_runtimes_of_several_precisions_are_measured_in_each():
    bundle = SimpleNamespace(precisions=("fp32", "fp16", "int8"), engines=[SimpleNamespace(precision="fp16")])
    names = bench_measure._names(("onnx", "tensorrt", "jax"), bundle)
    assert names == ["onnx fp32", "onnx int8", "tensorrt fp16", "jax"]


def child_of(program, monkeypatch, tmp_path):
    monkeypatch.setattr(bench_measure, "_CHILD", [sys.executable, "-S", "-c", program])
    return bench_measure._Child("jax", SimpleNamespace(folder=tmp_path), 2, (20, 24), (40, 48))


def test_a_child_gets_its_job_and_answers_each_request(monkeypatch, tmp_path):
    program = """
import json, sys
job = json.loads(sys.stdin.readline())
print(json.dumps({"first": len(job)}), flush=True)
for line in sys.stdin:
    seconds = job["size"][1] if line == "network\\n" else job["image"][0]
    print(json.dumps({"seconds": seconds, "peak_bytes": job["batch"]}), flush=True)
"""
    child = child_of(program, monkeypatch, tmp_path)
    assert child.begin() == "first run 5.0 s"
    assert (child.run("network"), child.run("end_to_end")) == (24, 40)
    assert (child.first, child.peak_bytes, child.error) == (5, 2, "")
    child.end()


def test_a_child_that_dies_is_reported_with_its_last_line(monkeypatch, tmp_path):
    child = child_of("import sys; sys.stdin.readline(); sys.exit('one\\ntwo')", monkeypatch, tmp_path)
    words = "its process ended with exit code 1; last line: two"
    assert child.begin() == child.error == words
    assert math.isnan(child.run("network"))
    assert child.error == "its process ended with exit code 1; last line: it printed nothing"
    child.end()


class Stub:
    """A child that answers at once: its n-th run takes n seconds."""

    made: ClassVar[list] = []

    def __init__(self, name, bundle, batch, size, image):
        self.name, self.error, self.first, self.peak_bytes, self.asked = name, "", 0.5, 7, []
        self.given = (batch, tuple(size), tuple(image))
        self.made.append(self)

    def begin(self):
        self.error = "not installed" if self.name == "jax" else ""
        return self.error or "ready"

    def run(self, kind):
        self.asked.append(kind)
        return float(len(self.asked))

    def end(self):
        self.asked.append("end")


@pytest.mark.parametrize(("size", "shape"), [(None, (572, 572)), (28, (28, 28)), ((28, 36), (28, 36))])
def test_runtimes_take_turns_and_the_numbers_are_those_of_the_batch(size, shape, monkeypatch):
    config = preset("paper", widths=(2, 4))
    bundle = SimpleNamespace(config=config, precisions=("fp32",), engines=[])
    Stub.made.clear()
    said = []
    monkeypatch.setattr(bench_measure, "_Child", Stub)
    monkeypatch.setattr(bench_measure, "measured_peak", lambda: 2e9)
    monkeypatch.setattr(bench_measure, "default_tile", lambda geometry: None)
    found = bench_measure.bench_bundle(bundle, ("onnx", "jax"), 3, size, 2, said.append)
    if size is None:
        shape = bench_measure.tile_below(config.geometry, 572)
    out = config.geometry.output_shape(shape)
    macs = sum(config.graph.macs(shape).values())
    assert said == ["onnx fp32: ready", "jax: not installed"]
    onnx, jax = Stub.made
    image = tuple(n * 3 // 2 for n in out)
    assert onnx.given == jax.given == (3, shape, image)
    assert (onnx.asked, jax.asked) == (["network", "end_to_end"] * 2 + ["end"], ["end"])
    ran, failed = found.pop("timings")
    assert found == {
        "input": [3, *shape], "output": [3, *out], "image": list(image), "rounds": 2, "multiply_adds": macs,
        "peak_gflops": 2.0,
    }  # fmt: skip
    assert failed.note == "not installed"
    assert (ran.p50, ran.end_to_end_p50, ran.images_per_second) == (2.0, 3.0, 1.5)
    assert ran.megapixels_per_second == pytest.approx(3 * math.prod(out) / 2 / 1e6)
    assert ran.peak_share == pytest.approx(2 * macs * 3 / 2 / 2e9)


@pytest.mark.parametrize(("batch", "rounds", "words"), [(0, 1, "batch is 0"), (1, 0, "rounds is 0")])
def test_counts_are_at_least_one(batch, rounds, words):
    bundle = SimpleNamespace(config=preset("paper", widths=(2, 4)))
    with pytest.raises(InputError, match=f"{words}; it must be at least 1"):
        bench_measure.bench_bundle(bundle, ("onnx",), batch, 28, rounds)
