"""Building engines for TensorRT-RTX: building, records, early refusals, interruption."""

import dataclasses
import hashlib
from pathlib import Path

import pytest

from unet_spec import PRESETS, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import EngineSettings, Profile, build_engine, emit_onnx, onnx_bytes
from unet_export.precision.formats import PRECISIONS, convolutions
from unet_export.tensorrt import build as tensorrt_build
from unet_export.tensorrt import settings as settings_module
from unet_export.tensorrt.builder import wrong_types
from unet_export.tensorrt.engine_record import EngineRecord
from unet_export.tensorrt.settings import DEFAULT_CAPABILITIES

from ...fixtures.export_cases import CASES, RTX, images_for, recipe_for
from .tiny import PROFILE, TINY, model_bytes


@pytest.mark.slow
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
        EngineSettings(Profile.fixed(*images.shape[:-1]), compute_capabilities=("89",), tf32=precision == "tf32"),
    )
    assert record.precision == precision
    narrow = {"fp16": "HALF", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}.get(precision)
    layers = set(record.layer_types) - {"INT64", "INT32"}
    assert layers == ({"FLOAT", narrow} if narrow else {"FLOAT"})
    if narrow in ("INT8", "FP8"):
        count = 2  # inputs of each unit, and its weight
        assert record.layer_types[narrow] == count * len(convolutions(config.graph))


@RTX
def test_progress_and_timing_cache(tmp_path):
    config = CASES["same"]
    phases = []
    record = build_engine(
        onnx_bytes(emit_onnx(config, random_tensors(config.graph, 1))),
        tmp_path / "a.plan",
        EngineSettings(Profile.fixed(1, 20, 20), timing_cache=tmp_path / "timing.cache"),
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
        build_engine(model, tmp_path / "a.plan", EngineSettings(Profile.fixed(1, 20, 20)), progress=interrupt)
    assert not list(tmp_path.iterdir())


@RTX
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compute_capabilities": ("75", "80"), "precision": "bf16"}, "compute capability 75 has no bf16"),
        ({"compute_capabilities": ("86",), "precision": "fp8"}, r"86 has no fp8: its hardware begins with 89"),
        ({"compute_capabilities": ("75",), "tf32": True}, "75 has no tf32"),
        ({"tf32": True, "precision": "fp16"}, "tf32 is for float32 models; .* is fp16"),
        ({"version_compatible": True}, "builds no version-compatible engines"),
        ({"hardware_compatible": True}, "list several compute capabilities instead"),
    ],
)
def test_what_cannot_be_built_is_refused_in_advance(settings, message, tmp_path, monkeypatch):
    config = CASES["same"]
    tensors, images = random_tensors(config.graph, 1), images_for(config)
    precision = settings.pop("precision", "fp32")
    model = onnx_bytes(emit_onnx(config, tensors, recipe=recipe_for(precision, config, tensors, images)))
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *_: pytest.fail("the builder was started"))
    with pytest.raises(InputError, match=message):
        build_engine(
            model, tmp_path / "a.plan", EngineSettings(Profile.fixed(1, 20, 20), backend="tensorrt_rtx", **settings)
        )


@RTX
def test_an_engine_is_built_recorded_and_reproducible(tmp_path, monkeypatch):
    first = build_engine(model_bytes(), tmp_path / "a.plan", EngineSettings(PROFILE, backend="tensorrt_rtx"))
    plan = (tmp_path / "a.plan").read_bytes()
    assert (first.file, first.backend, first.precision) == ("a.plan", "tensorrt_rtx", "fp32")
    assert first.compute_capabilities == DEFAULT_CAPABILITIES
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
    second = build_engine(model_bytes(), "another_name.plan", EngineSettings(PROFILE, backend="tensorrt_rtx"))
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


@pytest.mark.slow
@RTX
@pytest.mark.parametrize("name", VARIANTS)
def test_every_kind_of_operation_builds(name, tmp_path):
    config = VARIANTS[name]
    size = config.geometry.grid().above(24)
    shape = (1, *[size] * config.spatial_dims)
    record = build_engine(
        model_bytes(config), tmp_path / "e.plan", EngineSettings(Profile.fixed(*shape), compute_capabilities=("89",))
    )
    assert record.compute_capabilities == ("89",)
    assert set(record.layer_types) <= {"FLOAT", "INT32", "INT64"}


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        (Profile((1, 20, 20), (1, 33, 32), (1, 64, 64)), r"profile opt: input 33x32 does not fit .* 32 or 34, 32"),
        (Profile((0, 20, 20), (1, 32, 32), (1, 64, 64)), "profile min has batch 0; it must be at least 1"),
        (Profile((1, 64, 20), (1, 32, 32), (1, 64, 64)), "profile height is 64, 32, 64; it must be min ≤ opt ≤ max"),
        (Profile((2, 20, 20), (1, 32, 32), (1, 64, 64)), "profile batch is 2, 1, 1"),
        (Profile((1, 20), (1, 32, 32), (1, 64, 64)), r"profile min is \(1, 20\); expected \(batch, height, width\)"),
    ],
)
def test_a_profile_that_does_not_fit_never_reaches_the_builder(profile, message, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *_: pytest.fail("the builder was started"))
    with pytest.raises(InputError, match=message):
        build_engine(model_bytes(), tmp_path / "a.plan", EngineSettings(profile))
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_damaged_never_reaches_the_builder(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *_: pytest.fail("the builder was started"))
    content = model_bytes()
    for junk in (b"", b"text, not a model\n" * 5, content[:-10]):
        with pytest.raises(InputError, match="the ONNX model"):
            build_engine(junk, tmp_path / "a.plan", EngineSettings(PROFILE))
    with pytest.raises(InputError, match="cannot read"):
        build_engine(tmp_path / "none.onnx", tmp_path / "a.plan", EngineSettings(PROFILE))


@RTX
def test_unknown_backends_capabilities_and_places_are_refused(tmp_path):
    def build(out=tmp_path / "a.plan", **changes):
        build_engine(model_bytes(), out, EngineSettings(PROFILE, **changes))

    with pytest.raises(InputError, match="unknown backend 'openvino'; allowed: tensorrt_rtx, tensorrt"):
        build(backend="openvino")
    with pytest.raises(InputError, match=r"unknown compute capabilities \['90'\]; TensorRT for RTX builds for 75, 80"):
        build(compute_capabilities=("90",))
    with pytest.raises(InputError, match="no compute capability given"):
        build(compute_capabilities=())
    with pytest.raises(InputError, match="workspace_mib is 0"):
        build(workspace_mib=0)
    with pytest.raises(InputError, match="there is no folder"):
        build(out=tmp_path / "none" / "a.plan")
    with pytest.raises(InputError, match=r"cannot write .*timing\.cache: there is no folder"):
        build(timing_cache=tmp_path / "none" / "timing.cache")
    assert not list(tmp_path.iterdir())


@RTX
def test_an_error_of_the_builder_is_one_line(tmp_path, monkeypatch):
    """With the check off, the builder itself receives a size off the grid."""
    config = VARIANTS["article"].replace(padding="same", merge="crop")
    monkeypatch.setattr(Profile, "check", lambda *_: None)
    with pytest.raises(
        InputError, match=r"cannot build a\.plan with tensorrt_rtx: .*dimensions must be equal"
    ) as caught:
        build_engine(model_bytes(config), tmp_path / "a.plan", EngineSettings(Profile.fixed(1, 33, 33)))
    assert "\n" not in str(caught.value)
    assert "/_src/" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_defaults_of_inputs_are_removed_and_the_rest_stays(tmp_path):
    def model(defaults):
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("x", "noise")]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
        tensors = [helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0]) for name in ("w", *defaults)]
        nodes = [helper.make_node("Sum", ["x", "noise", "w"], ["y"])]
        return helper.make_model(helper.make_graph(nodes, "g", inputs, [output], tensors))

    plain, with_default = model([]), model(["noise"])
    content = plain.SerializeToString(deterministic=True)
    assert tensorrt_build._without_defaults(content, plain) is content
    changed = tensorrt_build._without_defaults(with_default.SerializeToString(), with_default)
    assert changed == content
    assert [t.name for t in with_default.graph.initializer] == ["w", "noise"]  # the caller's model stays


def built(**changes):
    """What the builder's process reports of a float32 engine."""
    report = {"version": "1.2", "reproducible": True, "seconds": 2.5, "tf32": False, "input_type": "FLOAT",
              "output_type": "FLOAT", "layer_types": {"FLOAT": 3, "INT64": 2}, "tensor_types": {}}  # fmt: skip
    return report | changes


def test_the_builder_gets_all_settings_and_its_report_becomes_the_record(tmp_path, monkeypatch):
    jobs = []

    def run(*arguments):
        jobs.append(arguments)
        return built(tf32=True), b"plan"

    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt_rtx",))
    monkeypatch.setattr(tensorrt_build, "run_child", run)
    config = TINY.replace(in_channels=3)
    cache = tmp_path / "kernels"
    own = EngineSettings(PROFILE, ("89", "86"), 64, cache, tf32=True)
    record = build_engine(model_bytes(config), tmp_path / "e.plan", own, print)
    [(job, content, what, timing, progress)] = jobs
    assert job.settings == dataclasses.replace(
        own, backend="tensorrt_rtx", compute_capabilities=("86", "89"), timing_cache=Path("timing.cache")
    )
    assert job.shapes == {"image": [[1, 3, 20, 20], [1, 3, 32, 40], [2, 3, 64, 64]]}
    assert (content, what) == (model_bytes(config), "cannot build e.plan with tensorrt_rtx")
    assert (timing, progress) == (cache, print)
    assert (tmp_path / "e.plan").read_bytes() == b"plan"
    assert record == EngineRecord(
        "e.plan", "tensorrt_rtx", "1.2", ("86", "89"), "tf32", True, PROFILE, {"FLOAT": 3, "INT64": 2}, 4, 2.5,
        hashlib.sha256(b"plan").hexdigest(),
    )  # fmt: skip
    build_engine(model_bytes(config), tmp_path / "e.plan", dataclasses.replace(own, timing_cache=None))
    assert jobs[1][3:] == (None, None)
    assert jobs[1][0].settings.timing_cache is None


def test_a_model_of_bytes_has_its_channels_last_and_noise_has_rows_of_features():
    def model(inputs):
        values = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
        return helper.make_model(helper.make_graph([], "g", values, []))

    first = ("image", TensorProto.FLOAT, ["n", 3, "h", "w"])
    floats = model([first, ("noise", TensorProto.FLOAT, ["s", 6])])
    whole = Profile((1, 20, 22), (3, 32, 40), (5, 64, 68))
    assert tensorrt_build._image_shapes(whole, floats) == [[1, 3, 20, 22], [3, 3, 32, 40], [5, 3, 64, 68]]
    as_bytes = model([("image", TensorProto.UINT8, ["n", "h", "w", 3])])
    assert tensorrt_build._image_shapes(whole, as_bytes) == [[1, 20, 22, 3], [3, 32, 40, 3], [5, 64, 68, 3]]
    assert tensorrt_build.noise_shapes(whole, floats) == {"noise": [[1, 6], [3, 6], [5, 6]]}
    assert tensorrt_build.noise_shapes(whole, as_bytes) == {}


def test_a_plan_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt_rtx",))
    monkeypatch.setattr(tensorrt_build, "run_child", lambda *_: (built(), b"plan"))
    (tmp_path / "e.plan").mkdir()
    with pytest.raises(InputError, match=r"^cannot write .*e\.plan: "):
        build_engine(model_bytes(), tmp_path / "e.plan", EngineSettings(PROFILE))
