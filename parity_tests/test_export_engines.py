"""Engines of every precision: built in its own dtypes, read back, refused in advance, cancelled, cached."""

import json

import pytest

from unet_spec import PRESETS, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from parity_tests.export_cases import (  # noqa: E402
    CASES,
    RTX,
    images_for,
    recipe_for,
)
from unet_export import (  # noqa: E402
    Profile,
    Recipe,
    build_engine,
    emit_onnx,
    onnx_bytes,
    tensorrt_backend,
)
from unet_export.onnx_check import value_types  # noqa: E402
from unet_export.precision import PRECISIONS, units  # noqa: E402


@RTX
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["paper", pytest.param("3-D same", marks=pytest.mark.slow)])
def test_every_precision_builds_in_its_own_dtypes(name, precision, tmp_path):
    config = CASES[name]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    recipe = recipe_for("fp32" if precision == "tf32" else precision, config, tensors, images)
    record = build_engine(
        onnx_bytes(emit_onnx(config, tensors, recipe=recipe)),
        tmp_path / "e.plan",
        profile=Profile.fixed(*images.shape[:-1]),
        compute_capabilities=("89",),
        tf32=precision == "tf32",
    )
    assert record.precision == precision
    narrow = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}.get(precision)
    layers = set(record.layer_types) - {"INT64", "INT32"}
    assert layers == ({"FLOAT", narrow} if narrow else {"FLOAT"})
    if narrow in ("INT8", "FP8"):
        count = 2  # what enters each unit, and its weight
        assert record.layer_types[narrow] == count * len(units(config.graph))


@RTX
def test_an_engine_that_is_float32_in_name_of_int8_is_refused(tmp_path):
    """The recipe says int8, the file has no quantisation in it: what others shipped without a word."""
    config = CASES["paper"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = emit_onnx(config, tensors)
    for prop in model.metadata_props:
        if prop.key == "recipe":
            prop.value = json.dumps(recipe_for("int8", config, tensors, images).to_dict())
    with pytest.raises(InputError, match="built no INT8 where int8 was asked; no engine was written"):
        build_engine(onnx_bytes(model), tmp_path / "a.plan", profile=Profile.fixed(*images.shape[:-1]))
    assert not list(tmp_path.iterdir())


@RTX
def test_a_tensor_of_another_dtype_is_named(tmp_path, monkeypatch):
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = onnx_bytes(emit_onnx(config, tensors, recipe=Recipe("fp16")))
    right = tensorrt_backend.run_child

    def lie(*job):
        built, plan = right(*job)
        built["tensor_types"]["encoder.1.conv1"] = "FLOAT"
        return built, plan

    monkeypatch.setattr(tensorrt_backend, "run_child", lie)
    with pytest.raises(InputError, match=r"built encoder\.1\.conv1 in FLOAT, the model has HALF"):
        build_engine(model, tmp_path / "a.plan", profile=Profile.fixed(*images.shape[:-1]))


@RTX
def test_all_values_of_the_model_are_found_in_the_network_that_was_built(tmp_path, monkeypatch):
    """Otherwise reading dtypes back by name would prove nothing."""
    config = CASES["article"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    model = emit_onnx(config, tensors, recipe=Recipe("bf16"))
    right, seen = tensorrt_backend.run_child, {}

    def spy(*job):
        built, plan = right(*job)
        seen.update(built["tensor_types"])
        return built, plan

    monkeypatch.setattr(tensorrt_backend, "run_child", spy)
    build_engine(onnx_bytes(model), tmp_path / "a.plan", profile=Profile.fixed(*images.shape[:-1]))
    assert set(value_types(model)) <= set(seen)


@RTX
def test_progress_and_timing_cache(tmp_path):
    config = CASES["same"]
    phases = []
    record = build_engine(
        onnx_bytes(emit_onnx(config, random_tensors(config.graph, 1))),
        tmp_path / "a.plan",
        profile=Profile.fixed(1, 20, 20),
        timing_cache=tmp_path / "timing.cache",
        progress=lambda *step: phases.append(step),
    )
    assert record.bytes
    assert {"Building engine"} <= {phase for phase, _, _ in phases}
    assert all(step >= 0 for _, step, _ in phases)
    assert (tmp_path / "timing.cache").is_file()


@RTX
def test_an_interrupted_build_ends_its_process_and_leaves_nothing(tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    config = CASES["same"]
    model = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 1)))
    with pytest.raises(KeyboardInterrupt):
        build_engine(model, tmp_path / "a.plan", profile=Profile.fixed(1, 20, 20), progress=interrupt)
    assert not list(tmp_path.iterdir())


@RTX
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"compute_capabilities": ("75", "80"), "precision": "bf16"}, "compute capability 75 has no bf16"),
        ({"compute_capabilities": ("86",), "precision": "fp8"}, r"86 has no fp8: its hardware begins with 89"),
        ({"compute_capabilities": ("75",), "tf32": True}, "75 has no tf32"),
        ({"tf32": True, "precision": "fp16"}, "tf32 is a way to multiply float32; .* is fp16"),
        ({"version_compatible": True}, "builds no version-compatible engines"),
        ({"hardware_compatible": True}, "name several compute capabilities instead"),
    ],
)
def test_what_cannot_be_built_is_refused_in_advance(settings, told, tmp_path, monkeypatch):
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    precision = settings.pop("precision", "fp32")
    model = onnx_bytes(emit_onnx(config, tensors, recipe=recipe_for(precision, config, tensors, images)))
    monkeypatch.setattr(tensorrt_backend, "run_child", lambda *_: pytest.fail("the builder was started"))
    with pytest.raises(InputError, match=told):
        build_engine(model, tmp_path / "a.plan", profile=Profile.fixed(1, 20, 20), backend="tensorrt_rtx", **settings)


def test_named_profiles():
    geometry = PRESETS["paper"].geometry
    latency, throughput = (Profile.named(name, geometry) for name in ("latency", "throughput"))
    assert latency == Profile((1, 188, 188), (1, 572, 572), (1, 572, 572))
    assert (throughput.min[0], throughput.max[0]) == (1, 16)
    with pytest.raises(InputError, match="unknown profile 'fast'; there are general, latency, throughput"):
        Profile.named("fast", geometry)


@RTX
def test_a_profile_that_no_network_can_meet_is_no_mere_warning(tmp_path, monkeypatch):
    """TensorRT builds an engine for it, and only says that its least size is not self-consistent. Here, the check that
    stops such a profile beforehand is off."""
    config = PRESETS["paper"].replace(widths=(4, 8))
    model = onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))
    profile = Profile((1, 4, 4), (1, 32, 32), (1, 64, 64))
    with pytest.raises(InputError, match="profile min: input 4x4 does not fit"):
        build_engine(model, tmp_path / "a.plan", profile=profile)
    monkeypatch.setattr(Profile, "check", lambda self, config: None)
    with pytest.raises(InputError, match="does not fit the network: Profile kMIN values are not self-consistent"):
        build_engine(model, tmp_path / "a.plan", profile=profile, compute_capabilities=("89",))
    assert not list(tmp_path.iterdir())
