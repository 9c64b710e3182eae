"""The float32 model of every architecture contains the checkpoint."""

import numpy as np
import pytest

from unet_export import emit_onnx, onnx_bytes, read_onnx
from unet_export.onnx.check import weights_of
from unet_spec import random_tensors

from ...fixtures.family_cases import FAMILIES


@pytest.mark.parametrize("name", FAMILIES)
def test_the_float32_model_holds_the_checkpoint(name):
    """Bit for bit, in the checkpoint's shapes, whatever shapes the nodes need."""
    config = FAMILIES[name]
    tensors = random_tensors(config.graph, 0, np.float32)
    _, model, where = read_onnx(onnx_bytes(emit_onnx(config, tensors)))
    found = weights_of(model, where)
    assert set(found) == set(config.graph.inference.params)
    for key, tensor in found.items():
        np.testing.assert_array_equal(tensor, tensors[key])
