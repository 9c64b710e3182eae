"""Every operation in ONNX, evaluated exactly, and planted bugs."""

import dataclasses

import numpy as np
import pytest

from unet_spec import UNetConfig, random_tensors
from unet_spec.graph import Graph, Node
from unet_spec.ops import Input, Op

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_export.onnx import ops as onnx_ops
from unet_export.onnx.lowering import Lowered
from unet_export.precision.formats import PrecisionRecipe

from ...fixtures.onnx_cases import CASES, PAPER, distance, reference, sample


def exact_bound(config: UNetConfig) -> float:
    """ONNX stores the slope of leaky_relu, and its evaluator the sqrt(2) of gelu, in float32 for any dtype."""
    return {"leaky_relu": 1e-8, "gelu": 1e-6}.get(config.activation, 1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_onnx_evaluator_in_float64_agrees_exactly(name):
    from onnx.reference import ReferenceEvaluator

    # 2⁻¹⁷ is about 1e-5 and exact in float32, in which ONNX stores epsilon.
    config = CASES[name].replace(norm_eps=2.0**-17)
    tensors = random_tensors(config.graph, 1, np.float64)
    images = sample(config, 1, 0).astype(np.float64)
    evaluator = ReferenceEvaluator(emit_onnx(config, tensors, dtype=np.float64))
    (logits,) = evaluator.run(None, {"image": np.moveaxis(images, -1, 1)})
    assert logits.dtype == np.float64
    assert distance(np.moveaxis(logits, 1, -1), reference(config, tensors, images)) <= exact_bound(config)


def test_a_large_mean_does_not_spoil_the_group_norm():
    """E[x²] − E[x]² would lose every digit here."""
    config = CASES["norm-group"]
    tensors = random_tensors(config.graph, 1)
    tensors["encoder.0.conv1.bias"] += 1000
    images = sample(config, 1)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) <= 1e-3


@pytest.mark.parametrize("bug", ["half-pixel", "epsilon", "order", "crop", "statistics", "leaky"])
def test_a_planted_bug_is_caught(bug, monkeypatch):
    """The bound of 1e-5 detects each of these."""
    config = {
        "half-pixel": CASES["same-bilinear"],
        "epsilon": CASES["norm-instance"],
        "statistics": CASES["article"],
        "leaky": CASES["activation-leaky_relu"],
    }.get(bug, PAPER)
    right = onnx_ops.Writer.add

    def wrong(self, op_type, name, inputs, **attributes):
        if bug == "half-pixel" and op_type == "Resize":
            attributes["coordinate_transformation_mode"] = "half_pixel"
        if bug == "epsilon" and op_type == "InstanceNormalization":
            attributes["epsilon"] = 1e-3
        if bug == "order" and op_type == "Concat":
            inputs = inputs[::-1]
        if bug == "statistics" and op_type == "BatchNormalization":
            inputs = [*inputs[:2], inputs[3], inputs[2], inputs[4]]
        if bug == "leaky" and op_type == "LeakyRelu":
            attributes["alpha"] = 0.0101
        return right(self, op_type, name, inputs, **attributes)

    constant = onnx_ops.Writer.constant

    def moved(self, name, values, dtype=None):
        if bug == "crop" and name.endswith((".starts", ".ends")):
            values = [v + 1 for v in values]
        return constant(self, name, values, dtype)

    monkeypatch.setattr(onnx_ops.Writer, "add", wrong)
    monkeypatch.setattr(onnx_ops.Writer, "constant", moved)
    tensors, images = random_tensors(config.graph, 1), sample(config, 2)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) > 1e-5


def test_an_operation_that_nobody_wrote_yet_is_named():
    @dataclasses.dataclass(frozen=True)
    class Attention(Op):
        kind = "attention"

    graph = Graph((Node("input", Input(1), ()), Node("gate", Attention(), ("input",))), 2)
    writer = onnx_ops.Writer(Lowered(graph, {}), np.dtype(np.float32), PrecisionRecipe())
    with pytest.raises(NotImplementedError, match="'gate': the operation 'attention' has no ONNX emitter"):
        onnx_ops.emit(graph["gate"].op, graph["gate"], ["image"], writer)
