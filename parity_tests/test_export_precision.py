"""Narrow precisions: the lowering is exact, and the file says what the simulation computes."""

import dataclasses

import numpy as np
import pytest

from unet_spec import InputError, random_tensors
from unet_spec.ops import BatchNorm, ConvTranspose

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from parity_tests.export_cases import (  # noqa: E402
    CASES,
    NARROW,
    images_for,
    recipe_for,
    reference,
    relative,
)
from unet_export import (  # noqa: E402
    OnnxRuntime,
    Recipe,
    emit_onnx,
    onnx_bytes,
    onnx_ops,
    read_onnx,
    simulate,
)
from unet_export.lowering import lower  # noqa: E402
from unet_export.onnx_check import value_types  # noqa: E402
from unet_export.precision import PRECISIONS, QUANTIZED, lower_for, storage, units  # noqa: E402
from unet_export.simulation import rounded, tf32  # noqa: E402
from unet_tools.narrow import narrow  # noqa: E402


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


def evaluate(model, images: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return np.moveaxis(ReferenceEvaluator(model).run(None, {"image": np.moveaxis(images, -1, 1)})[0], 1, -1)


BOUND = {"fp32": 1e-5, "tf32": 1e-2, "fp16": 5e-3, "bf16": 5e-2, "int8": 1e-6, "fp8": 1e-6}
"""Between ONNX's evaluator and the simulation, relative. The quantised ones agree but for the last bit of float32 sums;
half types round sums that were added in another order (fp16 in the evaluator: 11 bits), tf32 is not in the file."""


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_file_says_what_the_simulation_computes(name, precision):
    config = CASES[name]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    recipe = recipe_for(precision, config, tensors, images)
    model = emit_onnx(config, tensors, recipe=recipe)
    onnx.checker.check_model(onnx_bytes(model), full_check=True)
    read_onnx(onnx_bytes(model))
    simulated = simulate(lower_for(precision, config.graph, tensors), recipe, images)
    assert relative(evaluate(model, images), simulated) <= BOUND[precision]
    if precision in QUANTIZED:
        assert relative(OnnxRuntime(onnx_bytes(model)).run(images), simulated) <= 1e-5
    wanted = reference(config, tensors, images)
    least = {"fp32": 0, "tf32": 1e-5, "fp16": 1e-5, "bf16": 1e-4, "int8": 1e-3, "fp8": 1e-3}[precision]
    assert least < relative(simulated, wanted) < 0.6, "as coarse as its format, and no coarser"


@pytest.mark.parametrize("bug", ["scale", "axis", "float32"])
def test_a_planted_bug_in_the_file_is_caught(bug, monkeypatch):
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    recipe = recipe_for("int8", config, tensors, images)
    simulated = simulate(lower_for("int8", config.graph, tensors), recipe, images)
    if bug == "scale":
        right = onnx_ops.step
        monkeypatch.setattr(onnx_ops, "step", lambda r, p: np.asarray(right(r, p) * np.float32(1.01)))
    elif bug == "axis":
        right_ranges = onnx_ops.weight_ranges
        monkeypatch.setattr(onnx_ops, "weight_ranges", lambda w, op: np.roll(right_ranges(w, op), 1))
    else:
        monkeypatch.setattr(onnx_ops, "quantized", lambda graph, recipe: frozenset())
    assert relative(evaluate(emit_onnx(config, tensors, recipe=recipe), images), simulated) > 1e-4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["paper", "article-bilinear", "3-D same", "group norm"])
def test_pytorchs_half_types_agree_with_the_simulation(name, precision):
    pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'unet-twins[torch]'")
    from unet_tools.torch_judge import torch_half

    config = CASES[name]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    network = lower_for(precision, config.graph, tensors)
    recipe = Recipe(precision, (units(network.graph)[2],))
    difference = relative(torch_half(network, recipe)(images), simulate(network, recipe, images))
    assert difference <= BOUND[precision]


def test_another_operation_of_the_same_base_is_not_taken_for_it():
    pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'unet-twins[torch]'")
    from unet_tools.torch_judge import torch_half

    config = narrow("m-net")  # its average pooling is a subclass of the maximum's
    network = lower_for("fp16", config.graph, random_tensors(config.graph, 1))
    with pytest.raises(InputError, match="avg_pool is not said in PyTorch's half types"):
        torch_half(network, Recipe("fp16"))(images_for(config))


def test_formats_round_as_they_should():
    x = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65520.0, -1e-8, np.nan], np.float32)
    assert np.array_equal(rounded(x, "float16")[:4], np.array([1, 1 + 2**-9, np.inf, 0], np.float32))
    assert np.isnan(rounded(x, "float16")[4])
    assert tf32(np.float32([1 + 2**-11, 1 + 2**-10, -3.0])).tolist() == [1.0, 1 + 2**-10, -3.0]


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
    assert found == [f"{n}.input.quantized" for n in units(network.graph)[1:] if narrow]
    assert set(storage(network.graph, recipe).values()) <= {"float32", "float16", "bfloat16"}


def test_recipes_that_make_no_sense_are_refused():
    config = CASES["same"]
    tensors = random_tensors(config.graph, 0)
    with pytest.raises(InputError, match="unknown precision 'fp4'; allowed: fp32, tf32, fp16, bf16, int8, fp8"):
        Recipe("fp4")
    with pytest.raises(InputError, match="no layer can be kept out of it"):
        Recipe("tf32", ("head",))
    with pytest.raises(InputError, match="cannot keep 'tail' in float32"):
        emit_onnx(config, tensors, recipe=Recipe("fp16", ("tail",)))
    with pytest.raises(InputError, match=r"int8 needs the range of what enters encoder\.0\.conv1"):
        emit_onnx(config, tensors, recipe=Recipe("int8"))
    with pytest.raises(InputError, match="a float64 model is float64 throughout"):
        emit_onnx(config, tensors, dtype=np.float64, recipe=Recipe("fp16"))
    nan = dataclasses.replace(recipe_for("int8", config, tensors, images_for(config)), ranges={"head": np.nan})
    with pytest.raises(InputError, match="int8 needs the range"):
        nan.check(config.graph)
