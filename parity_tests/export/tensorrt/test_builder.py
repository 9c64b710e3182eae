"""The dtypes of an engine are read from the built network."""

import json
from contextlib import nullcontext

import pytest

from unet_spec import InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import (
    EngineSettings,
    PrecisionRecipe,
    Profile,
    build_engine,
    emit_onnx,
    onnx_bytes,
)
from unet_export.onnx.check import value_types
from unet_export.tensorrt import build as tensorrt_build
from unet_export.tensorrt.builder import first_reason

from ...fixtures.export_cases import CASES, RTX, images_for, recipe_for
from .tiny import PROFILE, TINY, model_bytes


@RTX
def test_an_engine_that_is_float32_in_name_of_int8_is_refused(tmp_path):
    """The recipe is int8, but the file has no quantisation."""
    config = CASES["paper"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = emit_onnx(config, tensors)
    for prop in model.metadata_props:
        if prop.key == "recipe":
            prop.value = json.dumps(recipe_for("int8", config, tensors, images).to_dict())
    with pytest.raises(InputError, match="built no INT8 but int8 was requested; no engine was written"):
        build_engine(onnx_bytes(model), tmp_path / "a.plan", EngineSettings(Profile.fixed(*images.shape[:-1])))
    assert not list(tmp_path.iterdir())


@RTX
def test_a_tensor_of_another_dtype_is_named(tmp_path, monkeypatch):
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = onnx_bytes(emit_onnx(config, tensors, recipe=PrecisionRecipe("fp16")))
    right = tensorrt_build.run_child

    def lie(*job):
        built, plan = right(*job)
        built["tensor_types"]["encoder.1.conv1"] = "FLOAT"
        return built, plan

    monkeypatch.setattr(tensorrt_build, "run_child", lie)
    with pytest.raises(InputError, match=r"built encoder\.1\.conv1 in FLOAT, the model has HALF"):
        build_engine(model, tmp_path / "a.plan", EngineSettings(Profile.fixed(*images.shape[:-1])))


@RTX
def test_all_values_of_the_model_are_found_in_the_network_that_was_built(tmp_path, monkeypatch):
    """Without this, reading dtypes by name would prove nothing."""
    config = CASES["article"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = emit_onnx(config, tensors, recipe=PrecisionRecipe("bf16"))
    right, seen = tensorrt_build.run_child, {}

    def spy(*job):
        built, plan = right(*job)
        seen.update(built["tensor_types"])
        return built, plan

    monkeypatch.setattr(tensorrt_build, "run_child", spy)
    build_engine(onnx_bytes(model), tmp_path / "a.plan", EngineSettings(Profile.fixed(*images.shape[:-1])))
    assert set(value_types(model)) <= set(seen)


@RTX
@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"layer_types": {"FLOAT": 9, "HALF": 1}}, "built {'HALF': 1} but fp32 was requested"),
        ({"output_type": "HALF"}, r"built \('FLOAT', 'HALF'\) inputs and outputs, the model has \('FLOAT', 'FLOAT'\)"),
        ({"tf32": True}, "built with TF32 True, but False was requested"),
    ],
)
def test_an_engine_of_another_precision_is_not_kept(lie, message, tmp_path, monkeypatch):
    right = tensorrt_build.run_child
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *job: (right(*job)[0] | lie, b""))
    with pytest.raises(InputError, match=message):
        build_engine(model_bytes(), tmp_path / "a.plan", EngineSettings(PROFILE))
    assert not list(tmp_path.iterdir())


@RTX
def test_dtypes_are_read_from_the_network_itself(tmp_path):
    """A float16 model that bypasses the emitter is detected in the builder's network."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = emit_onnx(TINY, random_tensors(TINY.graph, 0))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(InputError, match=r"built \{'HALF': \d+\} but fp32 was requested; no engine was written"):
        build_engine(onnx_bytes(model), tmp_path / "a.plan", EngineSettings(PROFILE))


def test_messages_about_the_missing_driver_do_not_hide_the_reason():
    messages = ["(cudaError 35: driver too old)", "kOPT violates\n shape constraints. In check at /_src/a.cpp:7)"]
    assert first_reason(messages) == "kOPT violates shape constraints)"
    assert first_reason(messages[:1]) == messages[0]
    assert first_reason([]) == "no reason given"


BUILT = {"tf32": False, "input_type": "FLOAT", "output_type": "FLOAT", "layer_types": {"FLOAT": 3, "INT64": 2},
         "tensor_types": {}}  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "changes", "message"),
    [
        ("fp32", {}, None),
        ("fp32", {"tensor_types": {"encoder.0.conv1": "FLOAT", "other": "INT64"}}, None),
        (
            "fp32",
            {"tensor_types": {"encoder.0.conv1": "HALF"}},
            r"tensorrt built encoder.0.conv1 in HALF, the model has FLOAT; no engine",
        ),
        ("fp32", {"layer_types": {"FLOAT": 2, "HALF": 1}}, r"built \{'HALF': 1\} but fp32 was requested"),
        ("fp32", {"layer_types": {"FLOAT": 2, "UINT8": 1}}, r"built \{'UINT8': 1\} but fp32 was requested"),
        ("fp16", {"layer_types": {"FLOAT": 2}}, "built no HALF but fp16 was requested"),
        ("fp16", {"layer_types": {"FLOAT": 2, "HALF": 1}}, None),
        ("bf16", {"layer_types": {"HALF": 1}}, r"built \{'HALF': 1\} but bf16 was requested"),
        ("bf16", {"layer_types": {"BF16": 1}}, None),
        ("int8", {"layer_types": {"INT8": 1}}, None),
        ("fp8", {"layer_types": {"FP8": 1}}, None),
        ("fp8", {"layer_types": {"INT8": 1, "FP8": 1}}, r"built \{'INT8': 1\} but fp8 was requested"),
        ("fp32", {"input_type": "HALF"}, r"built \('HALF', 'FLOAT'\) inputs and outputs, the model has"),
        ("fp32", {"tf32": True}, "built with TF32 True, but False was requested; no engine was written"),
        ("tf32", {"tf32": False}, "built with TF32 False, but True was requested; no engine was written"),
        ("tf32", {"tf32": True}, None),
    ],
)
def test_an_engine_has_the_types_of_its_model_or_is_refused(precision, changes, message, plain):
    with pytest.raises(InputError, match=message) if message else nullcontext():
        tensorrt_build._check_types(BUILT | changes, plain, precision, "tensorrt")


@pytest.fixture(scope="module")
def plain():
    return emit_onnx(TINY, random_tensors(TINY.graph, 0))
