"""The file names of engines."""

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export.tensorrt.engine_record import engine_name


def test_names_of_engines():
    name = engine_name("tensorrt_rtx", "1.7.1.116", ("80", "89"), "fp16")
    assert name == "tensorrt_rtx-1.7.1.116-sm80+89-fp16.plan"
    assert engine_name("tensorrt", "11.0.0", (), "fp32") == "tensorrt-11.0.0-native-fp32.plan"
