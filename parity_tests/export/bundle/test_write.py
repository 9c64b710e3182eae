"""Writing a bundle: equal bytes, replacement, and files after a failure."""

import shutil

import numpy as np
import pytest

from unet_spec import PRESETS, DataSpec, InputError

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import FLOAT32_BOUND, BundleSettings, Distance, OnnxRuntime, load, open_bundle, read_onnx, write_bundle
from unet_export.bundle import write
from unet_export.onnx.check import recipe_of
from unet_tools.checking.runtimes import check_bundle

from ... import FIXTURES
from ..bundles import checkpoint, expected


def contents(folder) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_bundles_of_format_version_1_stay_readable(tmp_path):
    """The fixture was written at 89c3605, with an engine per model; their files are replaced by a few bytes."""
    folder = tmp_path / "bundle"
    shutil.unpack_archive(FIXTURES / "bundle_v1.zip", folder)
    bundle = open_bundle(folder)
    assert (bundle.config.widths, bundle.data.class_names) == ((2, 3), ("background", "cell"))
    assert bundle.precisions == ("fp16", "fp32")
    assert (bundle.engines[0].precision, bundle.engines[0].compute_capabilities) == ("fp16", ("89",))
    assert bundle.fused_engines[0].file.endswith("-fp16-baked.plan")
    assert recipe_of(read_onnx(bundle.onnx_path("fp16"))[1], "").precision == "fp16"
    golden = np.load(folder / "golden.npz")
    logits = load(bundle)(golden["image"][None])
    assert Distance.between(logits, golden["logits"][:, :9, :11]).worst_relative < FLOAT32_BOUND
    findings = check_bundle(folder)
    assert {f.runtime for f in findings if f.ok} >= {"onnx", "simulation", "onnx, normalize+argmax inside"}
    assert not [f for f in findings if f.ok is False]


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
    bundle = write_bundle(point, tmp_path / "b", BundleSettings(engines=False))
    assert (bundle.tile is None) == (config.upsampling == "bilinear")
    image = np.random.default_rng(0).integers(0, 255, (*(19, 13, 23)[: config.spatial_dims], 1)).astype(np.uint8)
    given = load(bundle)(image[None])[0]
    assert Distance.between(given, expected(config, data, image, point.tensors)).worst_relative < 1e-5


def test_only_a_bundle_is_replaced(copy, tmp_path):
    write_bundle(checkpoint(), copy, BundleSettings(engines=False))  # it may be
    (copy / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt does not belong to it"):
        write_bundle(checkpoint(), copy, BundleSettings(engines=False))
    assert (copy / "notes.txt").read_text() == "mine"
    other = tmp_path / "other"
    other.mkdir()
    write_bundle(checkpoint(), other, BundleSettings(engines=False))  # empty
    thesis = tmp_path / "thesis"
    thesis.mkdir()
    (thesis / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="it is neither empty nor a bundle"):
        write_bundle(checkpoint(), thesis, BundleSettings(engines=False))
    with pytest.raises(InputError, match="it is a file"):
        write_bundle(checkpoint(), thesis / "thesis.tex", BundleSettings(engines=False))
    assert (thesis / "thesis.tex").read_text() == "years"
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_bundle_that_fails_leaves_the_old_one(copy, monkeypatch):
    before = contents(copy)

    def wrong(*_):
        return np.ones((1, 2, 2, 3))

    monkeypatch.setattr(write, "reference_logits", wrong)
    monkeypatch.setattr(OnnxRuntime, "run", lambda self, x: np.full((1, 2, 2, 3), 1.00002))
    with pytest.raises(InputError, match=r"is 2\.0e-05 of the reference's largest logit; the bound is 1e-05"):
        write_bundle(checkpoint(), copy, BundleSettings(engines=False))
    assert contents(copy) == before
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


def test_equal_checkpoints_make_equal_bundles(written, tmp_path):
    again = tmp_path / "again"
    write_bundle(checkpoint(), again, BundleSettings(engines=False))
    assert contents(again) == contents(written)


def test_a_golden_image_of_ones_own(tmp_path):
    image = np.random.default_rng(0).integers(0, 65535, (33, 29, 2)).astype(np.uint16)
    write_bundle(checkpoint(), tmp_path / "b", BundleSettings(engines=False), golden_image=image)
    assert np.array_equal(np.load(tmp_path / "b" / "golden.npz")["image"], image)
    with pytest.raises(InputError, match="5 channels; the network takes 2"):
        write_bundle(
            checkpoint(), tmp_path / "c", BundleSettings(engines=False), golden_image=np.zeros((33, 29, 5), np.uint8)
        )
    assert not (tmp_path / "c").exists()
