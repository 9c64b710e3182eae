"""Engines in a bundle."""

import json

import pytest

from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export import (
    BundleSettings,
    EngineSettings,
    Profile,
    available_backends,
    load,
    write_bundle,
)
from unet_export.bundle import engines
from unet_export.bundle.engines import Source
from unet_export.tensorrt.engine_record import EngineRecord, engine_name

from ...fixtures.export_cases import CONFIG, DATA, RTX
from ..bundles import checkpoint


@pytest.mark.skipif(
    "tensorrt_rtx" not in available_backends(),
    reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'",
)
def test_a_bundle_with_an_engine(tmp_path):
    profile = Profile((1, 20, 20), (1, 44, 44), (1, 44, 44))
    bundle = write_bundle(checkpoint(), tmp_path / "b", BundleSettings(engine_settings=EngineSettings(profile)))
    (record,) = bundle.engines
    assert record.file == f"tensorrt_rtx-{record.version}-sm80+86+89+120+121-fp32.plan"
    assert record.profile == profile
    assert bundle.engine_path(record).stat().st_size == record.bytes
    assert f"engines/{record.file}" in bundle.manifest["files"]
    found = json.loads((bundle.folder / "parity.json").read_text())
    printed = [entry["file"] for entry in (*found["results"], *found["not_run"])]
    assert sorted(printed) == sorted(["model.onnx", f"engines/{record.file}"]), "run, or said why not"
    predictor = load(bundle)
    if predictor.runtime.name == "onnx":
        assert set(predictor.passed_over) == {record.file}
        with pytest.raises(InputError, match=r"no engine of .* runs here: "):
            load(bundle, "tensorrt")
    bundle.engine_path(record).write_bytes(b"another engine")
    with pytest.raises(InputError, match=r"\.plan was changed or damaged"):
        load(tmp_path / "b")


PAPER = PRESETS["paper"].replace(widths=(4, 8))


def test_a_profile_off_the_grid(tmp_path):
    with pytest.raises(InputError, match="profile max: input 21x20 does not fit"):
        write_bundle(
            Checkpoint(PAPER, random_tensors(PAPER.graph, 2)),
            tmp_path / "b",
            BundleSettings(engine_settings=EngineSettings(Profile((1, 20, 20), (1, 20, 20), (1, 21, 20)))),
        )
    assert not list(tmp_path.iterdir())


def point(config=CONFIG) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 2), DATA)


@pytest.mark.slow
@RTX
def test_engines_of_the_fused_model_are_in_the_bundle(tmp_path):
    engine = EngineSettings(Profile.fixed(1, 20, 24), ("89",))
    steps = ("normalize", "argmax")
    settings = BundleSettings(("fp16",), engine_settings=engine, fused_steps=steps)
    bundle = write_bundle(point(), tmp_path / "b", settings)
    (network,), (fused,) = bundle.engines, bundle.fused_engines
    assert network.file.endswith("-sm89-fp16.plan")
    assert fused.file.endswith("-sm89-fp16-baked.plan")
    assert f"engines/{fused.file}" in bundle.manifest["files"]
    assert fused.file in (bundle.folder / "README.md").read_text(encoding="utf-8")
    predictor = load(bundle)  # needs logits, so it does not try the other
    assert fused.file not in predictor.passed_over


SOURCES = [Source("model-fp16.onnx", "fp16"), Source("model-tf32.onnx", "tf32"), Source("x.onnx", "fp16", True)]


@pytest.fixture
def builds(monkeypatch, tmp_path):
    """Calls of the builder, which fails for each name that is added to the second list."""
    calls, fails = [], []

    def build(source, target, settings, progress):
        calls.append((source, settings, progress))
        if settings.backend in fails:
            raise InputError("no GPU")
        target.write_bytes(b"plan")
        rest = (True, Profile.fixed(1, 20, 20), {}, 4, 1.5, "0" * 64)
        return EngineRecord(target.name, settings.backend, "1.2", settings.compute_capabilities or (), "fp16", *rest)

    monkeypatch.setattr(engines, "available_backends", lambda: ("tensorrt_rtx", "tensorrt"))
    monkeypatch.setattr(engines, "build_engine", build)
    return calls, fails


def test_engines_are_named_by_what_determines_where_they_run(builds, tmp_path):
    progress = print
    built = engines.build_engines(tmp_path, None, SOURCES, EngineSettings(compute_capabilities=("80", "89")), progress)
    assert [r.file for r in built.engines] == [
        "tensorrt_rtx-1.2-sm80+89-fp16.plan", "tensorrt_rtx-1.2-sm80+89-tf32.plan"
    ]  # fmt: skip
    assert [r.file for r in built.fused] == ["tensorrt_rtx-1.2-sm80+89-fp16-baked.plan"]
    assert built.not_built == ()
    assert {p.name for p in (tmp_path / "engines").iterdir()} == {r.file for r in (*built.engines, *built.fused)}
    assert [(source, s.tf32, own) for source, s, own in builds[0]] == [
        (tmp_path / "model-fp16.onnx", False, progress),
        (tmp_path / "model-tf32.onnx", True, progress),
        (tmp_path / "x.onnx", False, progress),
    ]
    assert engine_name("tensorrt", "11.0", (), "fp32") == "tensorrt-11.0-native-fp32.plan"


def test_true_asks_for_every_installed_library_and_none_for_that_without_a_gpu(builds, tmp_path):
    for engines_of, expected in ((True, ["tensorrt_rtx", "tensorrt"]), (None, ["tensorrt_rtx"]), (False, [])):
        builds[0].clear()
        folder = tmp_path / str(engines_of)
        folder.mkdir()
        built = engines.build_engines(folder, engines_of, SOURCES[:1], EngineSettings())
        assert [s.backend for _, s, _ in builds[0]] == expected
        assert [r.backend for r in built.engines] == expected
    assert built.not_built == ({"runtime": "tensorrt", "reason": "no engine was requested"},)
    assert not (tmp_path / "False" / "engines").exists()


def test_an_engine_that_cannot_be_built_is_an_error_only_where_it_was_asked_for(builds, tmp_path):
    builds[1].append("tensorrt_rtx")
    built = engines.build_engines(tmp_path, None, SOURCES, EngineSettings())
    assert (built.engines, built.fused) == ((), ())
    assert [e["precision"] for e in built.not_built] == ["fp16", "tf32", "fp16-baked"]
    assert built.not_built[0] == {"runtime": "tensorrt_rtx", "precision": "fp16", "reason": "no GPU"}
    assert not (tmp_path / "engines").exists()
    with pytest.raises(InputError, match="no GPU"):
        engines.build_engines(tmp_path, True, SOURCES, EngineSettings())


def test_without_tensorrt_there_are_none(monkeypatch, tmp_path):
    for installed in ((), ("tensorrt",)):
        monkeypatch.setattr(engines, "available_backends", lambda installed=installed: installed)
        built = engines.build_engines(tmp_path, None, SOURCES, EngineSettings())
        assert built.not_built == ({"runtime": "tensorrt_rtx", "reason": "not installed"},)
    monkeypatch.setattr(engines, "available_backends", tuple)
    with pytest.raises(InputError, match=r"no TensorRT is installed; pip install 'unet-twins\[tensorrt-rtx\]'"):
        engines.build_engines(tmp_path, True, SOURCES, EngineSettings())
    assert not list(tmp_path.iterdir())
