"""A tiny model and its profile."""

import pytest

from unet_spec import PRESETS, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Profile, emit_onnx, onnx_bytes

TINY = PRESETS["paper"].replace(widths=(4, 8))
PROFILE = Profile((1, 20, 20), (1, 32, 40), (2, 64, 64))


def model_bytes(config=TINY) -> bytes:
    return onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))
