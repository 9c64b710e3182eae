"""The dtypes of values, and refused recipes."""

import dataclasses

import numpy as np
import pytest

from unet_spec import InputError, narrow, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import PrecisionRecipe, emit_onnx
from unet_export.onnx.check import value_types
from unet_export.precision.formats import convolutions, lower_for, storage

from ...fixtures.export_cases import CASES, NARROW, images_for, recipe_for


def test_another_operation_of_the_same_base_is_not_taken_for_it():
    pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'unet-twins[torch]'")
    from unet_tools.checking.torch_reference import torch_half

    config = narrow("m-net")  # its average pooling is a subclass of the maximum's
    network = lower_for("fp16", config.graph, random_tensors(config.graph, 1))
    with pytest.raises(InputError, match="avg_pool has no version in PyTorch's half types"):
        torch_half(network, PrecisionRecipe("fp16"))(images_for(config))


@pytest.mark.parametrize("precision", NARROW)
def test_values_have_the_dtypes_of_the_recipe(precision):
    config = CASES["article"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    network = lower_for(precision, config.graph, tensors)
    recipe = recipe_for(precision, config, tensors, images, kept=("encoder.0.conv1",))
    types = value_types(emit_onnx(config, tensors, recipe=recipe))
    half = {"fp16": "HALF", "bf16": "BF16"}.get(precision, "FLOAT")
    assert types["logits"] == "FLOAT"
    assert types["encoder.0.conv1"] == types["encoder.0.act1"] == "FLOAT"
    assert types["encoder.0.conv2"] == types["decoder.0.concat"] == half
    narrow = {"int8": "INT8", "fp8": "FP8"}.get(precision)
    found = [name for name, kind in types.items() if narrow and kind == narrow]
    assert found == [f"{n}.input.quantized" for n in convolutions(network.graph)[1:] if narrow]
    assert set(storage(network.graph, recipe).values()) <= {"float32", "float16", "bfloat16"}


def test_recipes_that_make_no_sense_are_refused():
    config = CASES["same"]
    tensors = random_tensors(config.graph, 0)
    with pytest.raises(InputError, match="unknown precision 'fp4'; allowed: fp32, tf32, fp16, bf16, int8, fp8"):
        PrecisionRecipe("fp4")
    with pytest.raises(InputError, match="no layer can be excluded"):
        PrecisionRecipe("tf32", ("head",))
    with pytest.raises(InputError, match="cannot keep 'tail' in float32"):
        emit_onnx(config, tensors, recipe=PrecisionRecipe("fp16", ("tail",)))
    with pytest.raises(InputError, match=r"int8 needs the range of the input of encoder\.0\.conv1"):
        emit_onnx(config, tensors, recipe=PrecisionRecipe("int8"))
    with pytest.raises(InputError, match="a float64 model is float64 throughout"):
        emit_onnx(config, tensors, dtype=np.float64, recipe=PrecisionRecipe("fp16"))
    nan = dataclasses.replace(recipe_for("int8", config, tensors, images_for(config)), ranges={"head": np.nan})
    with pytest.raises(InputError, match="int8 needs the range"):
        nan.check(config.graph)
