"""OpenVINO compared with ONNX Runtime."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import InputError, preset, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import emit_onnx, load, onnx_bytes
from unet_export.runtimes import openvino_runtime


def image(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 1)).astype(np.uint8)


def test_openvino_agrees(bundle):
    pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'unet-twins[openvino]'")
    x = image(0, 53, 71)
    wanted = load(bundle, "onnx")(x)
    with load(bundle, "openvino") as predictor:
        assert np.abs(predictor(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    with pytest.raises(InputError, match="this model was closed"):
        predictor(x)


def test_openvino_says_what_it_lacks(bundle, monkeypatch):
    with pytest.raises(InputError, match="has no fp16; it has fp32"):
        load(bundle, "openvino", precision="fp16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"OpenVINO is not installed; pip install 'unet-twins\[openvino\]'"):
        load(bundle, "openvino")


def test_openvino_computes_in_float32_with_the_threads_that_it_gets(monkeypatch):
    """With a stand-in for the package."""
    config = preset("same", widths=(2, 4))
    content = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))
    asked = []

    class Core:
        def read_model(self, *given):
            return given

        def compile_model(self, *given):
            asked.append(given)
            return SimpleNamespace(create_infer_request=lambda: SimpleNamespace(infer=infer))

    def infer(inputs):
        asked.append(inputs[0].shape)
        return [np.concatenate([inputs[0], 2 * inputs[0]], 1)]

    monkeypatch.setattr(openvino_runtime, "_openvino", lambda: SimpleNamespace(Core=Core, __version__="1.2"))
    runtime = openvino_runtime.OpenVinoRuntime(content, 3, "GPU")
    hint = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_NUM_THREADS": "3"}
    assert asked == [((content, b""), "GPU", hint)]
    assert (runtime.name, runtime.version, runtime.config) == ("openvino", "1.2", config)
    assert runtime.opened == (content, 3, "GPU")
    images = np.random.default_rng(0).normal(size=(2, 16, 20, 1)).astype(np.float32)
    np.testing.assert_array_equal(runtime.run(images), np.concatenate([images, 2 * images], -1))
    assert asked[1] == (2, 1, 16, 20)
    runtime.close()
    with pytest.raises(InputError, match="this model was closed; load it again"):
        runtime.run(images)


def test_errors_of_openvino_are_their_last_line(monkeypatch):
    config = preset("same", widths=(2, 4))
    content = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))

    def fails(*_):
        raise RuntimeError("somewhere:\nno such device\n")

    def package(compile_model):
        core = SimpleNamespace(read_model=lambda *_: None, compile_model=compile_model)
        return lambda: SimpleNamespace(Core=lambda: core, __version__="1")

    monkeypatch.setattr(openvino_runtime, "_openvino", package(fails))
    with pytest.raises(InputError, match=r"^OpenVINO cannot load the ONNX model: no such device$"):
        openvino_runtime.OpenVinoRuntime(content)
    request = SimpleNamespace(infer=fails)
    monkeypatch.setattr(
        openvino_runtime, "_openvino", package(lambda *_: SimpleNamespace(create_infer_request=lambda: request))
    )
    with pytest.raises(InputError, match=r"^OpenVINO fails on a batch of \(1, 16, 16, 1\): no such device$"):
        openvino_runtime.OpenVinoRuntime(content).run(np.zeros((1, 16, 16, 1), np.float32))
