"""Simulated precisions compared with the files and with PyTorch."""

import numpy as np
import pytest

from unet_spec import random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import OnnxRuntime, PrecisionRecipe, emit_onnx, onnx_bytes, read_onnx, simulate
from unet_export.onnx import ops as onnx_ops
from unet_export.precision.formats import PRECISIONS, QUANTIZED, convolutions, lower_for
from unet_export.precision.simulation import rounded, tf32

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
