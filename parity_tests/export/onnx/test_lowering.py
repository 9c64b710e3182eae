"""Lowered networks are the same networks."""

import numpy as np
import pytest

from unet_spec import random_tensors
from unet_spec.ops import BatchNorm, ConvTranspose

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export.onnx.lowering import lower

from ...fixtures.export_cases import CASES, images_for, relative


@pytest.mark.parametrize("split", [False, True], ids=["folded", "folded and split"])
@pytest.mark.parametrize("name", CASES)
def test_lowering_is_exact(name, split):
    config = CASES[name]
    tensors = random_tensors(config.graph, 1, np.float64)
    images = images_for(config).astype(np.float64)
    lowered = lower(config.graph, tensors, split)
    kinds = {type(node.op) for node in lowered.graph}
    assert BatchNorm not in kinds
    assert (ConvTranspose in kinds) == (config.upsampling == "transposed" and (not split or config.spatial_dims == 3))
    assert relative(lowered.graph.forward(lowered.tensors, images), config.graph.forward(tensors, images)) <= 1e-13
    size = images.shape[1:-1]
    assert lowered.graph.shapes(size)["head"] == config.graph.shapes(size)["head"]


def test_a_lowering_that_forgets_epsilon_is_caught(monkeypatch):
    config = CASES["article"]
    tensors = random_tensors(config.graph, 1, np.float64)
    images = images_for(config).astype(np.float64)
    wrong = tensors | {k: t + 1e-5 for k, t in tensors.items() if k.endswith("running_var")}
    lowered = lower(config.graph, wrong)
    assert relative(lowered.graph.forward(lowered.tensors, images), config.graph.forward(tensors, images)) > 1e-8
