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
