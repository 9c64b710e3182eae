"""Simulated precisions compared with the files and with PyTorch."""

import numpy as np
import pytest

from unet_spec import InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import OnnxRuntime, PrecisionRecipe, emit_onnx, onnx_bytes, read_onnx, simulate
from unet_export.onnx import ops as onnx_ops
from unet_export.precision.formats import PRECISIONS, QUANTIZED, convolutions, lower_for
from unet_export.precision.simulation import fake_quantized, narrow_dtype, quantize, rounded, tf32, weight_ranges

from ...fixtures.export_cases import CASES, images_for, recipe_for, reference, relative


def evaluate(model, images: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return np.moveaxis(ReferenceEvaluator(model).run(None, {"image": np.moveaxis(images, -1, 1)})[0], 1, -1)


BOUND = {"fp32": 1e-5, "tf32": 1e-2, "fp16": 5e-3, "bf16": 5e-2, "int8": 1e-6, "fp8": 1e-6}
"""Relative bounds between ONNX's evaluator and the simulation. Quantised precisions agree except for the last bit of
float32 sums. Half types round sums with another order of addition (fp16 in the evaluator: 11 bits). tf32 is not part of
the file."""


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
    from unet_tools.checking.torch_reference import torch_half

    config = CASES[name]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    network = lower_for(precision, config.graph, tensors)
    recipe = PrecisionRecipe(precision, (convolutions(network.graph)[2],))
    difference = relative(torch_half(network, recipe)(images), simulate(network, recipe, images))
    assert difference <= BOUND[precision]


def test_formats_round_as_they_should():
    x = np.array([1 + 2**-11, 1 + 3 * 2**-11, 65520.0, -1e-8, np.nan], np.float32)
    assert np.array_equal(rounded(x, "float16")[:4], np.array([1, 1 + 2**-9, np.inf, 0], np.float32))
    assert np.isnan(rounded(x, "float16")[4])
    assert tf32(np.float32([1 + 2**-11, 1 + 2**-10, -3.0])).tolist() == [1.0, 1 + 2**-10, -3.0]


def test_a_range_is_mapped_to_the_largest_value_of_the_format_and_the_rest_saturates():
    x = np.array([0.0, 1.0, -1.0, 2.5, 1e9, -1e9, 254 * 0.5 / 127], np.float32)
    q, scale = quantize(x, np.float32(254), "int8")
    assert (q.dtype, scale) == (np.int8, 2.0)
    assert q.tolist() == [0, 0, 0, 1, 127, -128, 0]  # to nearest, halves to even
    assert quantize(np.float32([3.0, 5.0]), np.float32(254), "int8")[0].tolist() == [2, 2]
    q, scale = quantize(x, np.float32(896), "fp8")
    assert (str(q.dtype), scale) == ("float8_e4m3fn", 2.0)
    assert q.astype(np.float32).tolist()[:6] == [0, 0.5, -0.5, 1.25, 448, -448]


def test_a_quantised_value_is_multiplied_by_its_scale_and_nan_stays():
    x = np.array([2.2, np.nan, -7.0], np.float32)
    found = fake_quantized(x, np.float32(12.7), "int8")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.float32([2.2, np.nan, -7.0]), rtol=1e-6)
    assert fake_quantized(np.float32([2.26]), np.float32(12.7), "int8") == pytest.approx(2.3)


def test_every_output_channel_of_a_weight_has_its_own_range():
    weight = np.zeros((2, 3, 1, 2), np.float32)
    weight[0, 1], weight[1, 2] = -5, 4
    op = next(node.op for node in CASES["same"].graph if node.op.kind == "conv")
    assert weight_ranges(weight, op).tolist() == [[[[5]]], [[[4]]]]
    weight[1] = 0
    assert weight_ranges(weight, op).ravel().tolist() == [5, 1]
    transposed = next(node.op for node in CASES["paper"].graph if node.op.kind == "conv_transpose")
    assert weight_ranges(weight, transposed).ravel().tolist() == [1, 5, 1]


def test_tf32_rounds_halves_to_even_and_leaves_what_is_not_finite():
    values = np.float32([1 + 3 * 2**-11, 1 + 2**-11 + 2**-23, np.inf, -np.inf, 0.0])
    assert tf32(values).tolist() == [1 + 2**-9, 1 + 2**-10, np.inf, -np.inf, 0.0]
    assert np.isnan(tf32(np.float32([np.nan]))).all()
    assert rounded(np.float32([1 + 2**-8, 1 + 3 * 2**-8, 3e38, 3.4e38]), "bfloat16").tolist()[:2] == [1.0, 1 + 2**-6]
    assert rounded(np.float32([3.4e38]), "bfloat16") == np.inf
    assert rounded(np.float32([1 + 2**-20]), "float32") == np.float32(1 + 2**-20)
    assert str(narrow_dtype("bfloat16")) == "bfloat16"


def test_a_simulation_rounds_only_what_its_recipe_says():
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    exact = reference(config, tensors, images)
    network = lower_for("fp16", config.graph, tensors)
    names = convolutions(network.graph)
    errors = [relative(simulate(network, PrecisionRecipe("fp16", names[:n]), images), exact) for n in (0, len(names))]
    assert errors[1] < 1e-5 < errors[0]
    with pytest.raises(InputError, match="cannot keep 'x' in float32"):
        simulate(network, PrecisionRecipe("fp16", ("x",)), images)
