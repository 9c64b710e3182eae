"""The bundle: a round trip, what it refuses to overwrite, and what happens when somebody tampers with it."""

import json
import shutil

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_data.tiles import mirror_window
from unet_export import (
    Distance,
    EngineSettings,
    OnnxRuntime,
    Profile,
    available_backends,
    is_bundle,
    load,
    open_bundle,
    parity,
    read_manifest,
    write_bundle,
)
from unet_spec.tiling import plan_tiles

CONFIG = PRESETS["paper"].replace(widths=(4, 8), in_channels=2, out_channels=3)
DATA = DataSpec((0.5, 0.25), (0.2, 0.1), ("background", "cell", "border"))

TILING = {"exact": True, "tile": None, "stride": None, "border": "mirrored"}


def checkpoint(config=CONFIG, data=DATA) -> Checkpoint:
    return Checkpoint(config, random_tensors(config.graph, 2), data)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle") / "b"
    write_bundle(checkpoint(), folder, engines=False)
    return folder


@pytest.fixture
def copy(written, tmp_path):
    return shutil.copytree(written, tmp_path / "copy")


def contents(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def expected(config, data, image, tensors) -> np.ndarray:
    """Logits of one image by other means: scaled here, in one piece, the float64 reference."""
    top = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    x = image.astype(np.float64) / top
    x = (x - np.array(data.mean)) / np.array(data.std) if data.mean else x
    plan = plan_tiles(config.geometry, image.shape[:-1])
    canvas = mirror_window(x, [-axis.margin for axis in plan.axes], plan.canvas)[None]
    doubles = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    return config.graph.forward(doubles, canvas)[0][tuple(slice(0, n) for n in image.shape[:-1])]


def test_a_bundle_says_what_the_network_wants_and_gives(written):
    manifest = read_manifest(written)
    assert is_bundle(written)
    assert manifest["sizes"] == [{"minimum": 18, "step": 2}] * 2
    assert manifest["margin"] == [8, 8]
    assert manifest["tiling"]["exact"] is True
    assert manifest["tiling"]["tile"] == [572, 572]
    starts = plan_tiles(CONFIG.geometry, (2000, 2000), 572).axes[0].starts
    assert manifest["tiling"]["stride"] == [starts[1] - starts[0]] * 2
    assert manifest["data"] == {"mean": [0.5, 0.25], "std": [0.2, 0.1], "class_names": list(DATA.class_names)}
    assert manifest["checkpoint_digest"] == checkpoint().digest()
    assert {n for n in manifest["files"] if "/" not in n} == {"README.md", "golden.npz", "model.onnx", "parity.json"}
    bundle = open_bundle(written)
    assert (bundle.config, bundle.data, bundle.engines, bundle.tile) == (CONFIG, DATA, (), (572, 572))
    card = (written / "README.md").read_text(encoding="utf-8")
    assert "background, cell, border" in card
    assert "18 + 2 k" in card


def test_parity_and_golden_hold_up(written):
    found = json.loads((written / "parity.json").read_text())
    assert [r["runtime"] for r in found["results"]] == ["onnxruntime"]
    assert 0 < found["results"][0]["worst_relative"] < 1e-5
    assert found["not_run"] == [{"runtime": "tensorrt", "reason": "no engine was asked for"}]
    golden = np.load(written / "golden.npz")
    logits = load(written, "onnx")(golden["image"][None])[0]
    wanted = golden["logits"][0][tuple(slice(0, n) for n in logits.shape[:-1])]
    assert Distance.between(logits, wanted).worst_relative < 1e-5
    assert np.abs(wanted - expected(CONFIG, DATA, golden["image"], checkpoint().tensors)).max() < 1e-4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
def test_images_of_any_size_and_depth(written, dtype):
    rng = np.random.default_rng(0)
    images = rng.random((2, 53, 71, 2))
    images = images.astype(dtype) if np.dtype(dtype).kind == "f" else (images * np.iinfo(dtype).max).astype(dtype)
    predictor = load(written)
    assert "tensorrt" in predictor.passed_over
    for tile in (None, 40):
        logits = predictor(images, tile=tile)
        assert logits.shape == (2, 53, 71, 3)
        assert logits.dtype == np.float32
        for image, given in zip(images, logits, strict=True):
            wanted = expected(CONFIG, DATA, image, checkpoint().tensors)
            assert Distance.between(given, wanted).worst_relative < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        PRESETS["same-bilinear"].replace(widths=(4, 8)),
        PRESETS["article"].replace(widths=(2, 4), spatial_dims=3),
    ],
    ids=["whole image only", "3-D"],
)
def test_other_networks(config, tmp_path):
    data = DataSpec()
    point = checkpoint(config, data)
    bundle = write_bundle(point, tmp_path / "b", engines=False)
    assert (bundle.tile is None) == (config.upsampling == "bilinear")
    image = np.random.default_rng(0).integers(0, 255, (*(19, 13, 23)[: config.spatial_dims], 1)).astype(np.uint8)
    given = load(bundle)(image[None])[0]
    assert Distance.between(given, expected(config, data, image, point.tensors)).worst_relative < 1e-5


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((30, 30, 2), np.uint8), r"have 3 axes; expected \(N, H, W, C\)"),
        (np.zeros((1, 30, 30, 1), np.uint8), "have 1 channels; the network takes 2"),
        (np.zeros((1, 30, 30, 2), np.int64), "int64; allowed: uint8, uint16 and floating point"),
        (np.zeros((1, 30, 30, 2), np.complex64), "complex64; allowed"),
        (np.zeros((1, 30, 30, 2), bool), "bool; allowed"),
        (np.full((1, 30, 30, 2), "a"), "allowed: uint8"),
        (np.zeros((0, 30, 30, 2), np.uint8), "hold no pixel"),
        (np.zeros((1, 0, 30, 2), np.uint8), "hold no pixel"),
        (np.full((1, 30, 30, 2), np.nan, np.float32), "only NaN or infinite values"),
        (np.where(np.eye(30) > 0, np.inf, 0.0)[None, ..., None].repeat(2, -1), "60 NaN or infinite values of 1800"),
    ],
)
def test_images_that_are_refused(written, images, told):
    with pytest.raises(InputError, match=told):
        load(written)(images)


def test_runtimes_that_do_not_run_here_say_why(written):
    with pytest.raises(InputError, match="unknown runtime 'fast'; allowed: auto, onnx, openvino, tensorrt"):
        load(written, "fast")
    with pytest.raises(InputError, match=r"no engine of .* runs here: the bundle has no engine"):
        load(written, "tensorrt")
    with pytest.raises(InputError, match="threads is 0"):
        load(written, threads=0)


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
    with pytest.raises(InputError, match="it is a file"):
        read_manifest(copy / "model.onnx")
    for text, told in (
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not the manifest of a bundle"),
        ("{}", "not the manifest of a bundle"),
    ):
        (copy / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=told):
            read_manifest(copy)
    (copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not valid JSON"):
        read_manifest(copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"it has no manifest\.json"):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("change", "told"),
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
        ({"config": CONFIG.replace(activation="elu").to_dict()}, "is another network than"),
    ],
)
def test_a_manifest_with_wrong_values(copy, change, told):
    values = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(values | change))
    with pytest.raises(InputError, match=told):
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
    with pytest.raises(InputError, match="is no name of a file inside of the bundle"):
        read_manifest(copy)


def test_a_link_that_leads_out_of_the_bundle(copy):
    (copy.parent / "secret").write_text("secret")
    (copy / "README.md").unlink()
    (copy / "README.md").symlink_to(copy.parent / "secret")
    with pytest.raises(InputError, match=r"README\.md leads out of the bundle"):
        read_manifest(copy)


def test_only_a_bundle_is_replaced(copy, tmp_path):
    write_bundle(checkpoint(), copy, engines=False)  # it may be
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt does not belong to it"):
        write_bundle(checkpoint(), copy, engines=False)
    assert (copy / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    write_bundle(checkpoint(), other, engines=False)  # empty
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="it is not empty, and no bundle"):
        write_bundle(checkpoint(), thesis, engines=False)
    with pytest.raises(InputError, match="it is a file"):
        write_bundle(checkpoint(), thesis / "thesis.tex", engines=False)
    assert (thesis / "thesis.tex").read_text() == "years"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_bundle_that_fails_leaves_the_old_one(copy, monkeypatch):
    before = contents(copy)

    def wrong(*_):
        return np.ones((1, 2, 2, 3))

    monkeypatch.setattr(parity, "reference_logits", wrong)
    monkeypatch.setattr(OnnxRuntime, "run", lambda self, x: np.full((1, 2, 2, 3), 1.001))
    with pytest.raises(InputError, match=r"is 1\.0e-03 from the reference"):
        write_bundle(checkpoint(), copy, engines=False)
    assert contents(copy) == before
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_a_nan_is_infinitely_far():
    logits = np.zeros((1, 2, 2, 1))
    logits[0, 0, 0, 0] = np.nan
    assert Distance.between(logits, np.ones_like(logits)).worst_relative == np.inf


def test_equal_checkpoints_make_equal_bundles(written, tmp_path):
    again = tmp_path / "again"
    write_bundle(checkpoint(), again, engines=False)
    assert contents(again) == contents(written)


def test_a_golden_image_of_ones_own(tmp_path):
    image = np.random.default_rng(0).integers(0, 65535, (33, 29, 2)).astype(np.uint16)
    write_bundle(checkpoint(), tmp_path / "b", engines=False, golden_image=image)
    assert np.array_equal(np.load(tmp_path / "b" / "golden.npz")["image"], image)
    with pytest.raises(InputError, match="5 channels; the network takes 2"):
        write_bundle(checkpoint(), tmp_path / "c", engines=False, golden_image=np.zeros((33, 29, 5), np.uint8))
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(
    "tensorrt_rtx" not in available_backends(),
    reason="tensorrt_rtx is not installed; pip install 'unet-twins[tensorrt-rtx]'",
)
def test_a_bundle_with_an_engine(tmp_path):
    profile = Profile((1, 20, 20), (1, 44, 44), (1, 44, 44))
    bundle = write_bundle(checkpoint(), tmp_path / "b", settings=EngineSettings(profile))
    (record,) = bundle.engines
    assert record.file == f"tensorrt_rtx-{record.version}-sm80+86+89+120+121-fp32.plan"
    assert record.profile == profile
    assert bundle.engine_path(record).stat().st_size == record.bytes
    assert f"engines/{record.file}" in bundle.manifest["files"]
    found = json.loads((bundle.folder / "parity.json").read_text())
    told = [entry["file"] for entry in (*found["results"], *found["not_run"])]
    assert sorted(told) == sorted(["model.onnx", f"engines/{record.file}"]), "run, or said why not"
    predictor = load(bundle)
    if predictor.runtime.name == "onnx":
        assert set(predictor.passed_over) == {record.file}
        with pytest.raises(InputError, match=r"no engine of .* runs here: "):
            load(bundle, "tensorrt")
    bundle.engine_path(record).write_bytes(b"another engine")
    with pytest.raises(InputError, match=r"\.plan was changed or damaged"):
        load(tmp_path / "b")
