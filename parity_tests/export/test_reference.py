"""Distances from the reference."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Distance


def test_a_nan_is_infinitely_far():
    logits = np.zeros((1, 2, 2, 1))
    logits[0, 0, 0, 0] = np.nan
    assert Distance.between(logits, np.ones_like(logits)).worst_relative == np.inf
