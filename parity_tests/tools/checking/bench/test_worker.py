"""The child process of a measurement: the runtimes that it opens, and its answers."""

import io
import json

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, write_bundle
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.checking.bench import worker

CONFIG = preset("paper", widths=(2, 3), out_channels=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "b"
    data = DataSpec((0.5,), (0.2,), ("a", "b", "c"))
    checkpoint = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), data)
    write_bundle(checkpoint, folder, BundleSettings(engines=False))
    return folder


def job(bundle, runtime, **more):
    return {"bundle": str(bundle), "runtime": runtime, "batch": 2, "size": [28, 36], "image": [30, 40]} | more


@pytest.mark.parametrize("runtime", ["onnx fp32", "torch", "jax"])
def test_every_runtime_is_the_network_of_the_bundle(bundle, runtime):
    run, checkpoint = worker.open_runtime(job(bundle, runtime))
    x = np.random.default_rng(1).normal(size=(1, 28, 36, 1)).astype(np.float32)
    wanted = CONFIG.graph.forward(checkpoint.tensors, x.astype(np.float64))
    assert np.abs(run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    assert checkpoint.data.class_names == ("a", "b", "c")


def answers(jobs, requests, monkeypatch):
    """What the worker writes for these lines of its standard input."""
    written = io.StringIO()
    monkeypatch.setattr(worker.sys, "stdin", io.StringIO("\n".join([json.dumps(jobs), *requests]) + "\n"))
    with monkeypatch.context() as patch:
        for name, stub in (("dup", lambda _: 1), ("dup2", lambda *_: None), ("fdopen", lambda *_: written)):
            patch.setattr(worker.os, name, stub)
        worker.main()
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_each_request_is_answered_with_its_seconds_and_the_peak_memory(bundle, monkeypatch):
    shapes, seen = [], []

    def run(x):
        shapes.append((x.shape, x.dtype))
        return np.zeros((*x.shape[:1], 12, 20, 3), np.float32) + np.arange(3)

    network = worker.open_runtime(job(bundle, "onnx fp32"))[1]
    monkeypatch.setattr(worker, "open_runtime", lambda asked: seen.append(asked) or (run, network))
    first, *others = answers(job(bundle, "any"), ["network", "end_to_end"], monkeypatch)
    assert seen == [job(bundle, "any")]
    assert list(first) == ["first"]
    assert [sorted(each) for each in others] == [["peak_bytes", "seconds"]] * 2
    assert all(each["seconds"] > 0 and each["peak_bytes"] > 2**20 for each in others)
    assert shapes[:2] == [((2, 28, 36, 1), np.float32)] * 2  # the batch, at first and when asked
    assert {shape for shape, _ in shapes[2:]} == {(1, 28, 36, 1)}  # an image by tiles of that size
    assert len(shapes[2:]) == 3 * 2


def test_bad_input_is_an_answer(tmp_path, monkeypatch):
    (only,) = answers(job(tmp_path / "nowhere", "jax"), [], monkeypatch)
    assert list(only) == ["error"]
    assert "nowhere" in only["error"]


def test_the_peak_is_in_bytes_where_the_system_counts_kibibytes(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrusage", lambda _: type("Usage", (), {"ru_maxrss": 5}))
    for platform, peak in (("linux", 5 * 1024), ("darwin", 5)):
        monkeypatch.setattr(worker.sys, "platform", platform)
        assert worker.peak_bytes() == peak
