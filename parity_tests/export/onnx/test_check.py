"""The full checker: every architecture passes, invalid models fail."""

import numpy as np
import pytest

from unet_export import OnnxRuntime, emit_onnx, onnx_bytes, read_onnx
from unet_export.onnx import check
from unet_export.onnx.check import config_of, recipe_of, weights_of
from unet_export.precision.formats import PrecisionRecipe
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


def changed(model, change) -> bytes:
    copy = onnx.ModelProto.FromString(onnx_bytes(model))
    change(copy)
    return onnx_bytes(copy)


def test_other_inputs_and_outputs_are_counted_in_the_message():
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    extra = onnx.helper.make_tensor_value_info("mask", onnx.TensorProto.FLOAT, [1])
    for change, counts in (
        (lambda m: m.graph.input.append(extra), "2 inputs and 1 outputs"),
        (lambda m: m.graph.output.append(extra), "1 inputs and 2 outputs"),
        (lambda m: setattr(m.graph.input[0], "name", "x"), "1 inputs and 1 outputs"),
        (lambda m: setattr(m.graph.output[0], "name", "labels"), "1 inputs and 1 outputs"),
    ):
        with pytest.raises(InputError, match=f"expected input 'image', output 'logits'; it has {counts}"):
            read_onnx(changed(model, change))


def test_bytes_as_input_and_weights_in_other_files_are_refused():
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))

    def as_bytes(copy):
        copy.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8

    def elsewhere(copy):
        copy.graph.initializer[1].data_location = onnx.TensorProto.EXTERNAL

    with pytest.raises(InputError, match="takes uint8 images, since its normalisation is fused in"):
        read_onnx(changed(model, as_bytes))
    with pytest.raises(InputError, match="stores weights in other files; expected a model in a single file"):
        read_onnx(changed(model, elsewhere))


def test_what_the_metadata_and_the_file_must_have():
    tensors = random_tensors(PAPER.graph, 0)
    model = emit_onnx(PAPER, tensors, recipe=PrecisionRecipe("fp16", ("head",)))
    assert recipe_of(model, "m") == PrecisionRecipe("fp16", ("head",))
    assert config_of(model, "m") == PAPER
    for name, read in (("recipe", recipe_of), ("config", config_of)):
        for prop in model.metadata_props:
            if prop.key == name:
                prop.value = "{"
        with pytest.raises(InputError, match=rf"m, metadata '{name}'"):
            read(model, "m")
    del model.metadata_props[:]
    with pytest.raises(InputError, match=r"m does not state its precision \(no metadata 'recipe'\)"):
        recipe_of(model, "m")


def test_weights_are_those_of_the_checkpoint_bit_for_bit():
    tensors = random_tensors(PAPER.graph, 0)
    model = emit_onnx(PAPER, tensors)
    found = weights_of(model, "m")
    assert set(found) == set(PAPER.graph.inference.params)
    assert all(np.array_equal(array, tensors[name]) for name, array in found.items())
    name = model.graph.initializer[0].name
    del model.graph.initializer[0]
    with pytest.raises(InputError, match=f"m lacks the tensor {name}; the float32 model"):
        weights_of(model, "m")


def test_types_have_tensorrts_names():
    assert {onnx.TensorProto.DataType.Name(kind): name for kind, name in check._TENSORRT.items()} == {
        "FLOAT": "FLOAT", "FLOAT16": "HALF", "BFLOAT16": "BF16", "INT8": "INT8", "FLOAT8E4M3FN": "FP8", "UINT8": "UINT8"
    }  # fmt: skip
    model = emit_onnx(PAPER, random_tensors(PAPER.graph, 0))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    assert check.border_types(model) == ("UINT8", "FLOAT")
