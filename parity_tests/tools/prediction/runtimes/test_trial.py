"""A runtime in a separate process."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.prediction.runtimes import trial
from unet_tools.prediction.runtimes.trial import TooSlowError, fastest, measure

CONFIG = preset("same", widths=(2, 4))


@pytest.fixture
def network(tmp_path):
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), DataSpec()).save(tmp_path / "ck")
    return tmp_path / "ck"


def test_a_runtime_is_measured_in_a_process_of_its_own(network, monkeypatch):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    from unet_tools.arguments.runtimes import open_network

    x = np.random.default_rng(0).normal(size=(1, 32, 48, 1)).astype(np.float32)
    done = measure(network, "onnx", x, limit=120)
    np.testing.assert_array_equal(done.logits, open_network(network, "onnx").run(x))
    assert 0 < done.seconds < done.prepare


def test_what_does_not_run_says_why(network, tmp_path):
    x = np.zeros((1, 32, 48, 1), np.float32)
    with pytest.raises(InputError, match="TensorRT runs engines"):
        measure(network, "tensorrt", x, limit=120)


def test_one_that_is_not_ready_in_time_is_ended(network, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS", 0.0)
    with pytest.raises(TooSlowError, match="onnx was not ready after 0 s"):
        measure(network, "onnx", np.zeros((1, 32, 48, 1), np.float32), limit=0.01)


def test_the_fastest_run_counts(monkeypatch):
    clock = iter([0.0, 0.5, 1.0, 1.2, 2.0, 2.4])
    monkeypatch.setattr(trial, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    runs = []
    assert fastest(runs.append, np.zeros(1), seconds=1.0) == pytest.approx(0.2)
    assert len(runs) == 3
