"""Engines: what is checked before a build, what is read back after it, and what happens when a builder dies.

That an engine runs, and how far it is from the reference, needs a GPU: see the tests marked so.
"""

import dataclasses
import hashlib
import sys

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")

from unet_export import Profile, build_engine, emit_onnx, load_engine, onnx_bytes, tensorrt_backend, tensorrt_child
from unet_export.cuda_device import Device, find_device
from unet_export.engine_record import EngineRecord, engine_name
from unet_export.tensorrt_backend import available_backends
from unet_export.tensorrt_build import _told, wrong_types
from unet_export.tensorrt_runtime import check_engine

RTX = pytest.mark.skipif(
    "tensorrt_rtx" not in available_backends(),
    reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'",
)
TINY = PRESETS["paper"].replace(widths=(4, 8))
PROFILE = Profile((1, 20, 20), (1, 32, 40), (2, 64, 64))


def model_bytes(config=TINY) -> bytes:
    return onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0)))


@RTX
def test_an_engine_is_built_recorded_and_reproducible(tmp_path, monkeypatch):
    first = build_engine(model_bytes(), tmp_path / "a.plan", profile=PROFILE, backend="tensorrt_rtx")
    plan = (tmp_path / "a.plan").read_bytes()
    assert (first.file, first.backend, first.precision) == ("a.plan", "tensorrt_rtx", "fp32")
    assert first.compute_capabilities == tensorrt_backend.DEFAULT_CAPABILITIES
    assert (first.bytes, first.sha256) == (len(plan), hashlib.sha256(plan).hexdigest())
    assert first.profile == PROFILE
    layers = [node for node in TINY.graph if node.op.kind not in ("input", "dropout")]
    assert first.layer_types["FLOAT"] >= len(layers)
    assert not wrong_types(first.layer_types, ("FLOAT",))
    assert EngineRecord.from_dict(first.to_dict(), "") == dataclasses.replace(first, seconds=0.0)
    if not first.reproducible:
        pytest.skip("this system does not let a process fix its addresses, so engines differ in a few bytes")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    second = build_engine(model_bytes(), "another_name.plan", profile=PROFILE, backend="tensorrt_rtx")
    assert second.sha256 == first.sha256


VARIANTS = {
    "group norm, silu, half-pixel": PRESETS["same"].replace(
        widths=(4, 8), norm="group", norm_groups=2, activation="silu", upsampling="bilinear", align_corners=False
    ),
    "article": PRESETS["article"].replace(widths=(4, 8)),
    "3-D, instance norm, trilinear": PRESETS["same"].replace(
        widths=(4, 8), norm="instance", spatial_dims=3, upsampling="bilinear"
    ),
    "gelu": TINY.replace(activation="gelu"),
}


@RTX
@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_operation_builds(name, tmp_path):
    config = VARIANTS[name]
    size = config.geometry.grid().above(24)
    shape = (1, *[size] * config.spatial_dims)
    record = build_engine(
        model_bytes(config), tmp_path / "e.plan", profile=Profile.fixed(*shape), compute_capabilities=("89",)
    )
    assert record.compute_capabilities == ("89",)
    assert set(record.layer_types) <= {"FLOAT", "INT32", "INT64"}


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        (Profile((1, 20, 20), (1, 33, 32), (1, 64, 64)), r"profile opt: input 33x32 does not fit .* 32 or 34, 32"),
        (Profile((0, 20, 20), (1, 32, 32), (1, 64, 64)), "profile min has batch 0; it must be at least 1"),
        (Profile((1, 64, 20), (1, 32, 32), (1, 64, 64)), "profile height is 64, 32, 64; it must be min ≤ opt ≤ max"),
        (Profile((2, 20, 20), (1, 32, 32), (1, 64, 64)), "profile batch is 2, 1, 1"),
        (Profile((1, 20), (1, 32, 32), (1, 64, 64)), r"profile min is \(1, 20\); expected \(batch, height, width\)"),
    ],
)
def test_a_profile_that_does_not_fit_never_reaches_the_builder(profile, told, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_backend, "run_child", lambda *_: pytest.fail("the builder was started"))
    with pytest.raises(InputError, match=told):
        build_engine(model_bytes(), tmp_path / "a.plan", profile=profile)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_damaged_never_reaches_the_builder(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_backend, "run_child", lambda *_: pytest.fail("the builder was started"))
    content = model_bytes()
    for junk in (b"", b"text, not a model\n" * 5, content[:-10]):
        with pytest.raises(InputError, match="the ONNX model"):
            build_engine(junk, tmp_path / "a.plan", profile=PROFILE)
    with pytest.raises(InputError, match="cannot read"):
        build_engine(tmp_path / "none.onnx", tmp_path / "a.plan", profile=PROFILE)


@RTX
def test_unknown_backends_capabilities_and_places_are_refused(tmp_path):
    def build(out=tmp_path / "a.plan", **changes):
        build_engine(model_bytes(), out, profile=PROFILE, **changes)

    with pytest.raises(InputError, match="unknown backend 'openvino'; there are tensorrt_rtx, tensorrt"):
        build(backend="openvino")
    with pytest.raises(InputError, match=r"unknown compute capabilities \['90'\]; TensorRT for RTX builds for 75, 80"):
        build(compute_capabilities=("90",))
    with pytest.raises(InputError, match="no compute capability given"):
        build(compute_capabilities=())
    with pytest.raises(InputError, match="workspace is 0 bytes"):
        build(workspace=0)
    with pytest.raises(InputError, match="there is no folder"):
        build(out=tmp_path / "none" / "a.plan")
    with pytest.raises(InputError, match=r"cannot write .*timing\.cache: there is no folder"):
        build(timing_cache=tmp_path / "none" / "timing.cache")
    assert not list(tmp_path.iterdir())


@RTX
@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            r"crashed \(SIGSEGV\); last words: it said nothing",
        ),
        ("import sys; sys.exit('out of memory')", "ended with exit code 1; last words: out of memory"),
        ("pass", "ended with exit code 0"),
    ],
)
def test_a_crash_of_the_builder_becomes_a_message(code, told, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_child, "_CHILD", (sys.executable, "-c", code))
    with pytest.raises(InputError, match=told) as caught:
        build_engine(model_bytes(), tmp_path / "a.plan", profile=PROFILE)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@RTX
def test_an_error_of_the_builder_is_told_in_one_line(tmp_path, monkeypatch):
    """With the check switched off, the builder itself meets a size off the grid."""
    config = VARIANTS["article"].replace(padding="same", merge="crop")
    monkeypatch.setattr(Profile, "check", lambda *_: None)
    with pytest.raises(
        InputError, match=r"cannot build a\.plan with tensorrt_rtx: .*dimensions must be equal"
    ) as caught:
        build_engine(model_bytes(config), tmp_path / "a.plan", profile=Profile.fixed(1, 33, 33))
    assert "\n" not in str(caught.value)
    assert "/_src/" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@RTX
@pytest.mark.parametrize(
    ("lie", "told"),
    [
        ({"layer_types": {"FLOAT": 9, "HALF": 1}}, "built {'HALF': 1} where fp32 was asked"),
        ({"output_type": "HALF"}, r"built \('FLOAT', 'HALF'\) at the border, the model has \('FLOAT', 'FLOAT'\)"),
        ({"tf32": True}, "built with TF32 True, asked was False"),
    ],
)
def test_an_engine_of_another_precision_is_not_kept(lie, told, tmp_path, monkeypatch):
    right = tensorrt_backend.run_child
    monkeypatch.setattr(tensorrt_backend, "run_child", lambda *job: (right(*job)[0] | lie, b""))
    with pytest.raises(InputError, match=told):
        build_engine(model_bytes(), tmp_path / "a.plan", profile=PROFILE)
    assert not list(tmp_path.iterdir())


@RTX
def test_dtypes_are_read_from_the_network_itself(tmp_path):
    """A float16 model, smuggled past the emitter, is seen in what the builder was given."""
    import onnx
    from onnx import TensorProto, numpy_helper

    model = emit_onnx(TINY, random_tensors(TINY.graph, 0))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(InputError, match=r"built \{'HALF': \d+\} where fp32 was asked; no engine was written"):
        build_engine(onnx_bytes(model), tmp_path / "a.plan", profile=PROFILE)


def test_messages_about_the_missing_driver_do_not_hide_the_reason():
    messages = ["(cudaError 35: driver too old)", "kOPT violates\n shape constraints. In check at /_src/a.cpp:7)"]
    assert _told(messages) == "kOPT violates shape constraints)"
    assert _told(messages[:1]) == messages[0]
    assert _told([]) == "no reason given"


def test_names_of_engines():
    name = engine_name("tensorrt_rtx", "1.7.1.116", ("80", "89"), "fp16")
    assert name == "tensorrt_rtx-1.7.1.116-sm80+89-fp16.plan"
    assert engine_name("tensorrt", "11.0.0", (), "fp32") == "tensorrt-11.0.0-native-fp32.plan"


def record_of(content: bytes, **changes) -> EngineRecord:
    values = {
        "file": "e.plan",
        "backend": "tensorrt_rtx",
        "version": "0.0.1",
        "compute_capabilities": ("89",),
        "precision": "fp32",
        "reproducible": True,
        "profile": PROFILE,
        "layer_types": {"FLOAT": 1},
        "bytes": len(content),
        "seconds": 0.0,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return EngineRecord(**values | changes)


def test_an_engine_is_held_against_the_machine_before_it_is_loaded(tmp_path):
    path, content = tmp_path / "e.plan", b"an engine"
    device = Device("Some GPU", "89")
    record = record_of(content)
    with pytest.raises(InputError, match="cannot read engine"):
        check_engine(path, record, device)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or another"):
        check_engine(path, record_of(b"another"), device)
    with pytest.raises(InputError, match="is for compute capability 89; Old GPU has 75; build one for it"):
        check_engine(path, record, Device("Old GPU", "75"))
    with pytest.raises(InputError, match=r"needs nothing_of_this_name 0\.0\.1, which is not installed"):
        check_engine(path, record_of(content, backend="nothing_of_this_name"), device)
    if "tensorrt_rtx" in available_backends():
        with pytest.raises(InputError, match=r"was built by tensorrt_rtx 0\.0\.1; installed is \d"):
            check_engine(path, record, device)


@pytest.mark.gpu
def test_an_engine_agrees_with_the_reference_on_a_gpu(tmp_path):
    from unet_export import parity

    try:
        device = find_device()
    except InputError as e:
        pytest.skip(str(e))
    rtx = "tensorrt_rtx" in available_backends() and device.compute_capability in tensorrt_backend.RTX_CAPABILITIES
    if not rtx and "tensorrt" not in available_backends():
        pytest.skip(f"no TensorRT that serves compute capability {device.compute_capability} is installed")
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    record = build_engine(
        model_bytes(),
        tmp_path / "e.plan",
        profile=PROFILE,
        backend="tensorrt_rtx" if rtx else "tensorrt",
        compute_capabilities=(device.compute_capability,) if rtx else None,
    )
    engine = load_engine(tmp_path / "e.plan", record, TINY)
    point = Checkpoint(TINY, random_tensors(TINY.graph, 0))
    for shape in ((1, 32, 40, 1), (2, 20, 64, 1)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert parity.measure(engine.run, images, parity.reference_logits(point, images)).worst_relative <= 1e-5


def test_without_a_gpu_loading_says_so(tmp_path):
    try:
        find_device()
    except InputError:
        pass
    else:
        pytest.skip("there is a CUDA device")
    (tmp_path / "e.plan").write_bytes(b"x")
    with pytest.raises(InputError, match="no CUDA device: "):
        load_engine(tmp_path / "e.plan", record_of(b"x"), TINY)
