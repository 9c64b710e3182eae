"""OpenVINO compared with ONNX Runtime."""

import sys

import numpy as np
import pytest

from unet_spec import InputError

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import load


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
