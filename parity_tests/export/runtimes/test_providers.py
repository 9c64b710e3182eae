"""ONNX Runtime runs on the requested provider, or the error states the reason."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import InputError

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import load, preflight
from unet_export.runtimes.providers import PROVIDERS, check_used, chosen_providers, installed_providers
from unet_tools.cli import main


@pytest.fixture
def everything(monkeypatch):
    """An ONNX Runtime that claims all providers."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: [p.name for p in PROVIDERS.values()])


def test_the_first_choice_and_its_options(monkeypatch, everything):
    assert installed_providers() == tuple(PROVIDERS)
    assert chosen_providers(None) == [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"]
    assert chosen_providers("cpu") == ["CPUExecutionProvider"]
    assert chosen_providers("directml") == ["DmlExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert chosen_providers(None) == ["CPUExecutionProvider"]


def test_what_is_not_installed_says_what_to_install(written, monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(InputError, match=r"has no provider webgpu, only cpu; .* pip install onnxruntime-webgpu"):
        load(written, provider="webgpu")
    with pytest.raises(InputError, match="unknown provider 'gpu'; allowed: cpu, cuda, tensorrt"):
        load(written, provider="gpu")
    with pytest.raises(InputError, match="provider is for the runtime onnx, not for openvino"):
        load(written, "openvino", provider="cpu")


def test_a_fall_back_to_the_cpu_is_refused(written, monkeypatch, everything):
    """The behaviour of ONNX Runtime if a provider's libraries are missing."""
    asked = []

    def session(content, options, providers):
        asked.append(providers)
        return SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])

    monkeypatch.setattr(ort, "InferenceSession", session)
    with pytest.raises(InputError, match="the provider tensorrt does not run here: ONNX Runtime chose CPUExecutionP"):
        load(written, provider="tensorrt")
    assert asked == [["TensorrtExecutionProvider", "CPUExecutionProvider"]]
    assert load(written, "onnx").runtime.provider == "CPUExecutionProvider"  # no provider was requested


def test_the_cpu_can_be_asked_for(written, capsys):
    images = np.zeros((1, 30, 30, 2), np.uint8)
    with load(written, provider="cpu") as chosen, load(written, "onnx") as usual:
        assert chosen.passed_over == {}
        np.testing.assert_array_equal(chosen(images), usual(images))
    assert preflight(written, threads=1, provider="cpu").ok
    assert main(["check", str(written), "--provider", "cpu"]) == 2
    assert "--provider is for --preflight" in capsys.readouterr().err


def test_every_provider_has_onnx_runtimes_name_its_package_and_options_for_float32():
    assert {name: (p.name, p.package, p.options) for name, p in PROVIDERS.items()} == {
        "cpu": ("CPUExecutionProvider", "onnxruntime", {}),
        "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu", {"use_tf32": "0"}),
        "tensorrt": ("TensorrtExecutionProvider", "onnxruntime-gpu", {}),
        "tensorrt-rtx": ("NvTensorRTRTXExecutionProvider", "onnxruntime-trt-rtx", {}),
        "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino", {"precision": "ACCURACY"}),
        "directml": ("DmlExecutionProvider", "onnxruntime-directml", {}),
        "coreml": ("CoreMLExecutionProvider", "onnxruntime", {}),
        "webgpu": ("WebGpuExecutionProvider", "onnxruntime-webgpu", {}),
    }


def test_a_session_on_the_provider_that_was_asked_for_is_kept():
    session = SimpleNamespace(get_providers=lambda: ["DmlExecutionProvider", "CPUExecutionProvider"])
    check_used("directml", session)
    check_used(None, session)
    with pytest.raises(InputError, match="the provider cpu does not run here: ONNX Runtime chose DmlExecutionProvider"):
        check_used("cpu", session)
