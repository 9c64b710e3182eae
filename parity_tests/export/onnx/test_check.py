"""The full checker: every architecture passes, invalid models fail."""

import numpy as np
import pytest

from unet_export import OnnxRuntime, emit_onnx, onnx_bytes, read_onnx
from unet_export.onnx.check import weights_of
from unet_spec import InputError, random_tensors

from ...fixtures.family_cases import FAMILIES

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from ...fixtures.onnx_cases import PAPER


def test_models_that_are_not_sound_are_refused():
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    dangling = onnx.ModelProto.FromString(onnx_bytes(model))
    dangling.graph.node[3].input[0] = "nowhere"
    with pytest.raises(InputError, match="does not pass the ONNX checker"):
        read_onnx(onnx_bytes(dangling))
    poisoned = onnx.ModelProto.FromString(onnx_bytes(model))
    weights = np.frombuffer(poisoned.graph.initializer[0].raw_data, np.float32).copy()
    weights[3] = np.nan
    poisoned.graph.initializer[0].raw_data = weights.tobytes()
    with pytest.raises(InputError, match=r"encoder\.0\.conv1\.weight contains NaN"):
        read_onnx(onnx_bytes(poisoned))
    for content in (b"1234", poisoned.graph.initializer[0].raw_data + b"1234"):
        poisoned.graph.initializer[0].raw_data = content
        with pytest.raises(InputError, match=r"conv1\.weight is damaged|does not pass"):
            read_onnx(onnx_bytes(poisoned))
    small = onnx.ModelProto.FromString(onnx_bytes(model))
    small.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.ones(4, np.float32), "encoder.0.conv1.weight"))
    with pytest.raises(InputError, match=r"encoder\.0\.conv1\.weight has shape \(4,\)"):
        weights_of(small, "the model")
    nameless = onnx.ModelProto.FromString(onnx_bytes(model))
    del nameless.metadata_props[:]
    with pytest.raises(InputError, match="does not state its network"):
        OnnxRuntime(onnx_bytes(nameless))


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES)
def test_the_onnx_file_passes_the_full_checker_and_names_its_network(config):
    content = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 3)))
    read_onnx(content)  # the full checker, and exactly one required input
    assert OnnxRuntime(content).config == config
