"""A bundle with every precision, and its check against the reference."""

import json

import numpy as np
import pytest

from unet_spec import Checkpoint, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, load, onnx_bytes, read_onnx, write_bundle
from unet_export.onnx.check import weights_of
from unet_tools.checking.runtimes import check_bundle

from ...fixtures.export_cases import CONFIG, DATA, calibration_images, relative


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2), DATA)
    folder = tmp_path_factory.mktemp("precisions") / "b"
    return write_bundle(
        point,
        folder,
        BundleSettings(
            ("fp16", "bf16", "tf32", "int8", "fp8"),
            engines=False,
            fused_steps=("normalize", "argmax"),
            licence="CC-BY-4.0",
        ),
        calibration=calibration_images(),
    )


def test_a_bundle_of_every_precision(bundle):
    assert bundle.precisions == ("fp16", "bf16", "tf32", "int8", "fp8", "fp32")
    files = {"model-fp16.onnx", "model-bf16.onnx", "model-int8.onnx", "model-fp8.onnx", "model-fp16-baked.onnx"}
    assert files < set(bundle.manifest["files"])
    found = json.loads((bundle.folder / "parity.json").read_text())
    simulated = {r["precision"]: r for r in found["results"] if r["runtime"] == "simulation"}
    assert set(simulated) == {"fp16", "bf16", "tf32", "int8", "fp8"}
    assert all(r["label_agreement"] >= r["least_label_agreement"] for r in simulated.values())
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert "CC-BY-4.0" in card
    assert "| simulation  | int8 |" in card


def test_weights_come_back_out_of_a_bundle_bit_for_bit(bundle):
    _, model, where = read_onnx(bundle.onnx)
    tensors = weights_of(model, where)
    assert Checkpoint(CONFIG, tensors, DATA).digest() == bundle.manifest["checkpoint_digest"]


def test_a_bundle_is_checked_in_every_precision(bundle):
    findings = check_bundle(bundle.folder)
    assert not [f for f in findings if f.ok is False]
    assert [f.ok for f in findings if f.runtime == "onnx, normalize+argmax inside"] == [True]
    assert {f.dtype for f in findings if f.ok} == {"fp32", "fp16", "bf16", "tf32", "int8", "fp8"}
    truths = [np.zeros((40, 52), np.int32)] * 4
    scored = check_bundle(bundle.folder, calibration_images(), truths)
    judged = [f.dice for f in scored if f.ok and f.note == "4 images"]
    assert len(judged) >= 6
    assert all(0 <= dice <= 1 for dice in judged)


def test_a_check_fails_where_a_file_is_not_as_good_as_the_manifest_says(bundle, tmp_path, monkeypatch):
    """A scale in the int8 file is wrong (with a correct checksum): simulation and runtime exceed the bound."""
    import shutil

    from unet_export.bundle.manifest import file_sha256

    copy = shutil.copytree(bundle.folder, tmp_path / "b")
    model = onnx.load(copy / "model-int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "head.input.scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) / 8, tensor.name))
    (copy / "model-int8.onnx").write_bytes(onnx_bytes(model))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["model-int8.onnx"]["sha256"] = file_sha256(copy / "model-int8.onnx")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    broken = [(f.runtime, f.dtype) for f in check_bundle(copy) if f.ok is False]
    assert broken == [("onnx", "int8")]


def test_a_runtime_takes_the_precision_that_is_asked_for(bundle):
    predictor = load(bundle, "onnx", precision="int8")
    assert predictor.runtime.precision == "int8"
    image = calibration_images(1)[0]
    exact, narrow = load(bundle, "onnx")(image[None]), predictor(image[None])
    assert 0 < relative(narrow, exact) < 0.3
    with pytest.raises(InputError, match="has no fp64; it has fp16, bf16, tf32, int8, fp8, fp32"):
        load(bundle, "onnx", precision="fp64")
    with pytest.raises(InputError, match="the bundle has no engine in fp16"):
        load(bundle, "tensorrt", precision="fp16")
