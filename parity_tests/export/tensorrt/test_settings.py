"""One set of options for the builder, its process, bundles and the command."""

from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path

import pytest

from unet_export import EngineSettings, Profile
from unet_export.bundle import engines
from unet_export.tensorrt import settings as settings_module
from unet_export.tensorrt.engine_record import EngineRecord
from unet_export.tensorrt.settings import Job
from unet_spec import InputError, preset

PROFILE = Profile.fixed(1, 32, 40)
SETTINGS = EngineSettings(PROFILE, ("86", "89"), 64, Path("timing.cache"), True, True, "tensorrt_rtx", True)


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, timing_cache=None, workspace_mib=None)])
def test_a_job_is_the_same_on_the_other_side(settings):
    job = Job(settings, {"image": [[1, 1, 32, 40]] * 3})
    assert Job.from_json(job.to_json()) == job


def test_the_command_has_a_flag_for_every_option_that_a_bundle_leaves_open():
    from unet_tools.commands.export import EngineFlags

    assert [f.name for f in fields(EngineFlags)] == [f.name for f in fields(EngineSettings)]


def test_a_workspace_has_a_size():
    with pytest.raises(InputError, match="workspace_mib is 0; it must be at least 1"):
        EngineSettings(workspace_mib=0)


@pytest.mark.parametrize("backend", [None, "tensorrt"])
def test_a_bundle_builds_with_each_installed_backend_or_the_one_that_is_named(backend, tmp_path, monkeypatch):
    asked: list[EngineSettings] = []

    def build(source, target, settings, progress):
        asked.append(settings)
        target.write_bytes(b"plan")
        return EngineRecord(target.name, settings.backend, "1", (), "tf32", True, PROFILE, {}, 4, 0.0, "0" * 64)

    monkeypatch.setattr(engines, "available_backends", lambda: ("tensorrt_rtx", "tensorrt"))
    monkeypatch.setattr(engines, "build_engine", build)
    own = EngineSettings(PROFILE, ("89",), backend=backend)
    engines.build_engines(tmp_path, True, [engines.Source("model.onnx", "tf32")], own)
    assert [s.backend for s in asked] == (["tensorrt_rtx", "tensorrt"] if backend is None else [backend])
    assert all(s.tf32 for s in asked)
    assert all((s.compute_capabilities is None) == (s.backend == "tensorrt") for s in asked)


@pytest.mark.parametrize(
    ("engines", "capabilities", "precision", "refused"),
    [
        (True, ("75",), "bf16", True),
        (None, ("75",), "bf16", True),
        (False, ("75",), "bf16", False),  # no engine is asked for
        (True, ("99",), "fp32", True),
        (False, ("99",), "fp32", False),
        (True, None, "bf16", False),
        (False, None, "fp32", False),
        (True, ("80", "86"), "bf16", False),
        (True, (), "fp32", True),
    ],
)
def test_compute_capabilities_are_checked_where_engines_may_be_built(engines, capabilities, precision, refused):
    settings = EngineSettings(PROFILE, capabilities)
    with pytest.raises(InputError, match="compute capabilit") if refused else nullcontext():
        settings.check(engines, ["fp32", precision])


@pytest.mark.parametrize("engines", [True, None, False])
def test_what_a_backend_cannot_build_is_refused_where_engines_are_asked_for(engines, monkeypatch):
    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt_rtx",))
    for field in ("version_compatible", "hardware_compatible"):
        with pytest.raises(InputError, match="tensorrt_rtx") if engines else nullcontext():
            EngineSettings(PROFILE, **{field: True}).check(engines, ["fp32"])
    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt",))
    EngineSettings(PROFILE, version_compatible=True, hardware_compatible=True).check(engines, ["fp32"])


def test_capabilities_are_sorted_as_numbers_and_each_counts_once():
    settings = EngineSettings(PROFILE, ("120", "86", "86", "89"))
    assert settings._capabilities("tensorrt_rtx", "fp32") == ("86", "89", "120")
    assert EngineSettings(PROFILE)._capabilities("tensorrt", "fp32") == ()
    with pytest.raises(InputError, match="for the GPU of this machine"):
        settings._capabilities("tensorrt", "fp32")
    assert EngineSettings(PROFILE)._capabilities("tensorrt_rtx", "fp32") == ("80", "86", "89", "120", "121")
    assert EngineSettings(workspace_mib=1).workspace_mib == 1


def test_what_an_engine_is_resolved_to(monkeypatch):
    config = preset("paper", widths=(2, 4))
    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt", "tensorrt_rtx"))
    sizes = Profile.fixed(1, 20, 22)
    assert EngineSettings(sizes).resolve(config, "fp32") == (sizes, "tensorrt", ())
    own = EngineSettings(sizes, ("89",), backend="tensorrt_rtx", tf32=True)
    assert own.resolve(config, "fp32") == (sizes, "tensorrt_rtx", ("89",))
    rtx = EngineSettings("latency", backend="tensorrt_rtx")
    assert rtx.resolve(config, "fp8") == (
        Profile.named("latency", config.geometry),
        "tensorrt_rtx",
        ("89", "120", "121"),
    )
    assert rtx.sizes(config.geometry)[0] == "latency"
    assert own.sizes(config.geometry) == ("own", sizes)


@pytest.mark.parametrize(
    ("settings", "precision", "message"),
    [
        (EngineSettings(PROFILE, tf32=True), "fp16", "tf32 is for float32 models; the model is fp16"),
        (EngineSettings(PROFILE, ("75",), backend="tensorrt_rtx", tf32=True), "fp32", "75 has no tf32: .* with 80"),
        (EngineSettings(PROFILE, ("80", "86"), backend="tensorrt_rtx"), "fp8", "80, 86 has no fp8: .* begins with 89"),
        (
            EngineSettings(PROFILE, ("90", "89"), backend="tensorrt_rtx"),
            "fp32",
            r"unknown compute capabilities \['90'\]",
        ),
        (EngineSettings(PROFILE, backend="x"), "fp32", "unknown backend 'x'; allowed: tensorrt_rtx, tensorrt$"),
        (EngineSettings(PROFILE, backend="tensorrt"), "fp32", r"not installed; pip install 'unet-twins\[tensorrt\]'"),
        (EngineSettings(PROFILE, version_compatible=True), "fp32", "builds no version-compatible engines"),
        (EngineSettings(PROFILE, hardware_compatible=True), "fp32", "has no hardware-compatible engines"),
        (EngineSettings(Profile.fixed(1, 33, 32)), "fp32", "profile min: input 33x32 does not fit"),
    ],
)
def test_requests_that_no_builder_can_meet(settings, precision, message, monkeypatch):
    monkeypatch.setattr(settings_module, "available_backends", lambda: ("tensorrt_rtx",))
    with pytest.raises(InputError, match=message):
        settings.resolve(preset("paper", widths=(2, 4)), precision)


def test_without_tensorrt_there_is_nothing_to_resolve(monkeypatch):
    monkeypatch.setattr(settings_module, "available_backends", tuple)
    with pytest.raises(InputError, match="no TensorRT is installed"):
        EngineSettings(PROFILE).resolve(preset("paper", widths=(2, 4)), "fp32")


def test_the_gpus_and_the_defaults_are_those_of_the_documents():
    assert settings_module.RTX_CAPABILITIES == ("75", "80", "86", "89", "120", "121")
    assert EngineSettings() == EngineSettings("general", None, None, None, False, False, None, False)
