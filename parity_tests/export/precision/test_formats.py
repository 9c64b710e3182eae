"""The dtypes of values, and refused recipes."""

import dataclasses

import numpy as np
import pytest

from unet_spec import InputError, narrow, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import PrecisionRecipe, emit_onnx
from unet_export.onnx.check import value_types
from unet_export.precision import formats
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


def test_the_numbers_of_the_formats_are_those_of_the_documents():
    assert formats.PRECISIONS == ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
    assert formats.QUANTIZED == {"int8": 127.0, "fp8": 448.0}
    assert formats.MINIMUM_CAPABILITY == {"tf32": 80, "bf16": 80, "fp8": 89}
    assert formats.AGREEMENT == {
        "fp32": 0.9999, "tf32": 0.999, "fp16": 0.999, "bf16": 0.999, "int8": 0.995, "fp8": 0.99
    }  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "kept"),
    [("fp32", "75 80 89"), ("int8", "75 80 89"), ("bf16", "80 89"), ("tf32", "80 89"), ("fp8", "89")],
)
def test_capabilities_begin_with_the_first_that_has_the_format(precision, kept):
    assert formats.capabilities_for(precision, ("75", "80", "89")) == tuple(kept.split())


def test_a_recipe_survives_its_metadata():
    recipe = PrecisionRecipe("int8", ("head",), {"a": np.float32(2.5)})
    assert PrecisionRecipe.from_dict(recipe.to_dict(), "x") == PrecisionRecipe("int8", ("head",), {"a": 2.5})
    for damaged in ({}, None, {"precision": "fp16"}, {"precision": "fp4", "kept_float32": [], "ranges": {}}):
        with pytest.raises(InputError, match=r"^x: not the recipe of a precision \("):
            PrecisionRecipe.from_dict(damaged, "x")


@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan, None])
def test_every_convolution_that_is_quantised_needs_a_range(value):
    graph = CASES["same"].graph
    names = convolutions(graph)
    ranges = dict.fromkeys(names, 1.0)
    PrecisionRecipe("int8", (), ranges).check(graph)
    ranges |= {names[2]: value} if value is not None else {}
    if value is None:
        del ranges[names[2]]
    with pytest.raises(InputError, match=f"int8 needs the range of the input of {names[2]}; calibrate"):
        PrecisionRecipe("int8", (), ranges).check(graph)
    PrecisionRecipe("int8", (names[2],), ranges).check(graph)  # it stays in float32
    PrecisionRecipe("fp16").check(graph)


def test_only_transposed_convolutions_of_bf16_are_kept_for_the_builder():
    graph = lower_for("bf16", CASES["3-D paper"].graph, random_tensors(CASES["3-D paper"].graph, 0)).graph
    kept = formats.kept_for_builder(graph, "bf16")
    assert kept == tuple(node.name for node in graph if node.op.kind == "conv_transpose")
    assert kept
    assert formats.kept_for_builder(graph, "fp16") == ()
    assert formats.quantized(graph, PrecisionRecipe("fp16")) == frozenset()
    assert formats.quantized(graph, PrecisionRecipe("int8", kept)) == frozenset(convolutions(graph)) - set(kept)
