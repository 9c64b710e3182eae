"""Changed bundles, and images and arrays that do not fit the network: one line each."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from unet_spec import InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import load
from unet_export.bundle.manifest import file_sha256

from .refusals import CONFIG, refused


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Replaces a file and corrects its checksum, as an attacker would."""
    (bundle / name).write_bytes(content)
    edit(bundle, lambda m: m["files"][name].update(sha256=file_sha256(bundle / name)))


def edit(bundle: Path, change) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def onnx_with_nan(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    tensor = model.graph.initializer[0]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array.ravel()[1] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model.SerializeToString()


def profile_of(shape: list[int]) -> dict:
    return {"name": "x", "min": shape, "opt": shape, "max": shape}


ONNX_FILES = {
    "empty": (lambda content: b"", "is empty"),
    "truncated": (lambda content: content[: len(content) // 2], "is not an ONNX model"),
    "plain text": (lambda content: b"not a model at all\n" * 9, "ONNX model"),
    "NaN weights": (onnx_with_nan, "contains NaN or infinite values"),
    "another network": (None, "is a different network than|does not state|lacks the tensor"),
}


@pytest.mark.parametrize("case", ONNX_FILES)
@pytest.mark.parametrize("command", ["check", "predict"])
def test_a_file_that_is_no_sound_model_is_refused(case, command, work, capsys):
    change, message = ONNX_FILES[case]
    content = (work / "bundle" / "model.onnx").read_bytes()
    if change is None:
        from unet_export import emit_onnx, onnx_bytes

        other = CONFIG.replace(widths=(4, 6))
        content = onnx_bytes(emit_onnx(other, random_tensors(other.graph, 0)))
    else:
        content = change(content)
    replace_file(work / "bundle", "model.onnx", content)
    tifffile.imwrite(work / "image.tif", np.zeros((40, 40), np.uint8))
    more = () if command == "check" else (work / "image.tif", "-o", work / "out.tif", "--runtime", "onnx")
    line = refused(capsys, command, work / "bundle", *more)
    import re

    assert re.search(message, line), line
    assert not (work / "out.tif").exists()


MANIFESTS = {
    "changed file": (lambda b: (b / "model.onnx").write_bytes(b"x"), "was changed or damaged"),
    "missing file": (lambda b: (b / "model-fp16.onnx").unlink(), "is missing"),
    "not JSON": (lambda b: (b / "manifest.json").write_text("{"), "not valid JSON"),
    "later version": (lambda b: edit(b, lambda m: m.update(format_version=9)), "this program reads 1"),
    "key gone": (lambda b: edit(b, lambda m: m.pop("margin")), "'margin' is a required property"),
    "key added": (lambda b: edit(b, lambda m: m.update(colour=1)), "'colour' was unexpected"),
    "path out": (
        lambda b: edit(b, lambda m: m["files"].update({"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}})),
        "not the name of a file inside",
    ),
    "absolute path": (
        lambda b: edit(b, lambda m: m["files"].update({"/etc/passwd": {"sha256": "0" * 64, "bytes": 1}})),
        "not the name of a file inside",
    ),
    "precision's file out": (
        lambda b: edit(b, lambda m: m["precisions"][0].update(file="../model.onnx")),
        "is not among its files",
    ),
    "unknown precision": (lambda b: edit(b, lambda m: m["precisions"][0].update(precision="fp4")), "'fp4' is not one"),
    "tile off the grid": (lambda b: edit(b, lambda m: m["tiling"].update(tile=[571, 571])), "nearest valid"),
    "profile off the grid": (
        lambda b: edit(b, lambda m: m.update(profile=profile_of([1, 21, 20]))),
        "profile min: input 21x20 does not fit",
    ),
    "profile batch 0": (
        lambda b: edit(b, lambda m: m.update(profile=profile_of([0, 20, 20]))),
        "0 is less than the minimum of 1",
    ),
    "std of zero": (lambda b: edit(b, lambda m: m["data"].update(std=[0.0])), "data.std above zero"),
}  # fmt: skip


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_is_wrong_is_refused(case, work, capsys):
    change, message = MANIFESTS[case]
    change(work / "bundle")
    assert message in refused(capsys, "check", work / "bundle")


IMAGES = {
    "wrong channels": (np.arange(4800, dtype=np.uint8).reshape(40, 40, 3), "channels"),
    "all NaN": (np.full((40, 40), np.nan, np.float32), "NaN"),
    "one infinity": (np.where(np.eye(40) > 0, np.inf, 0).astype(np.float32), "infinite"),
    "too deep integers": (np.full((40, 40), 2**30, np.int32), "2**24"),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("command", ["check", "predict"])
def test_an_image_that_the_network_cannot_take_is_refused(case, command, work, capsys):
    array, message = IMAGES[case]
    photometric = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(work / "image.tif", array, photometric=photometric)
    if command == "check":
        line = refused(capsys, "check", work / "bundle", "--images", work / "image.tif")
    else:
        line = refused(capsys, "predict", work / "bundle", work / "image.tif", "-o", work / "out.tif")
    assert message in line
    assert not (work / "out.tif").exists()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((0, 40, 40, 1), np.uint8), "have no pixels"),
        (np.zeros((40, 40, 1), np.uint8), "3 axes"),
        (np.zeros((1, 40, 40, 2), np.uint8), "2 channels"),
        (np.zeros((1, 40, 40, 1), np.int64), "int64"),
        (np.full((1, 40, 40, 1), np.nan, np.float32), "only NaN"),
    ],
)
def test_an_array_that_the_network_cannot_take_is_refused(written, images, message):
    with pytest.raises(InputError, match=message):
        load(written / "bundle", "onnx")(images)


def test_a_tile_and_an_input_that_are_too_small(written):
    predictor = load(written / "bundle", "onnx")
    with pytest.raises(InputError, match="a tile of 10 is too small for this network; the minimum is"):
        predictor(np.zeros((1, 80, 80, 1), np.uint8), tile=10)
    with pytest.raises(InputError, match="nearest valid"):
        predictor.runtime.run(np.zeros((1, 9, 9, 1), np.float32))
