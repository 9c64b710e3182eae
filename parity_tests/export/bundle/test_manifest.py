"""The manifest: changed files, wrong values, names outside the bundle."""

import json

import pytest

from unet_spec import InputError

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import load, open_bundle, read_manifest

from ..bundles import CONFIG

TILING = {"exact": True, "tile": None, "stride": None, "border": "mirrored"}


@pytest.mark.parametrize("file", ["model.onnx", "parity.json", "golden.npz", "README.md"])
def test_a_file_that_was_changed_is_named(copy, file):
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    with pytest.raises(InputError, match=f"{file} was changed or damaged"):
        open_bundle(copy)
    (copy / file).unlink()
    with pytest.raises(InputError, match=f"{file} is missing"):
        load(copy)


def test_a_manifest_that_is_no_manifest(copy, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_manifest(tmp_path / "none")
    with pytest.raises(InputError, match="it is a file; a bundle is the folder that unet export writes"):
        read_manifest(copy / "model.onnx")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"no manifest\.json; unet export .* -o BUNDLE makes one of this checkpoint"):
        read_manifest(tmp_path)
    for text, message in (
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not the manifest of a bundle"),
        ("{}", "not the manifest of a bundle"),
    ):
        (copy / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=message):
            read_manifest(copy)
    (copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid JSON"):
        read_manifest(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"it has no manifest\.json"):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "format version 2; this program reads 1"),
        ({"config": None}, "config: None is not of type 'object'"),
        ({"config": {"widths": "wide"}}, "widths"),
        ({"data": {"mean": [1.0], "std": [1.0]}}, "data.mean has 1 numbers for 2 channels"),
        ({"data": {"mean": [0, 0], "std": [0, 1]}}, "data.std above zero"),
        ({"engines": [{"file": "x.plan"}]}, r"engines\[0\]: 'backend' is a required property"),
        ({"engines": [7]}, r"engines\[0\]: 7 is not of type 'object'"),
        ({"tiling": {**TILING, "tile": [570.5, 572]}}, r"tiling.tile\[0\]: 570.5 is not of type 'integer'"),
        ({"tiling": {**TILING, "tile": [572]}}, r"tiling.tile: \[572\] is too short"),
        ({"tiling": {**TILING, "tile": [572, 572, 572]}}, "expected 2 whole numbers or null"),
        ({"tiling": {**TILING, "tile": [571, 572]}}, "nearest valid"),
        ({"files": {}}, r"model\.onnx is not among its files"),
        ({"files": {"model.onnx": {}}}, "'sha256' is a required property"),
        ({"config": CONFIG.replace(activation="elu").to_dict()}, "is a different network than"),
    ],
)
def test_a_manifest_with_wrong_values(copy, change, message):
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(values | change))
    with pytest.raises(InputError, match=message):
        load(copy)


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/hostname", "engines/../../secret", "C:\\secret", "a\\b", "", "./model.onnx", "manifest.json"],
)
def test_names_that_lead_out_of_the_bundle(copy, name):
    (copy.parent / "secret").write_text("secret")
    values = json.loads((copy / "manifest.json").read_text())
    values["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    (copy / "manifest.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="is not the name of a file inside the bundle"):
        read_manifest(copy)


def test_a_link_that_leads_out_of_the_bundle(copy):
    (copy.parent / "secret").write_text("secret")
    (copy / "README.md").unlink()
    (copy / "README.md").symlink_to(copy.parent / "secret")
    with pytest.raises(InputError, match=r"README\.md points outside of the bundle"):
        read_manifest(copy)
