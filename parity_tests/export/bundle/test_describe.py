"""The manifest's description of the network."""

from importlib.metadata import version

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_data.io.colours import colour
from unet_export import FLOAT32_BOUND, Profile, default_tile, is_bundle, open_bundle, read_manifest
from unet_export.bundle.describe import _version, as_json, describe, describe_fused
from unet_export.bundle.engines import Source
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.tiling.tiles import plan_tiles, tile_stride

from ... import ROOT
from ..bundles import CONFIG, DATA, checkpoint


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
    assert {n for n in manifest["files"] if "/" not in n} == {
        "README.md",
        "golden.npz",
        "model.onnx",
        "parity.json",
        "sbom.cdx.json",
    }
    bundle = open_bundle(written)
    assert (bundle.config, bundle.data, bundle.engines, bundle.tile) == (CONFIG, DATA, (), (572, 572))
    card = (written / "README.md").read_text(encoding="utf-8")
    assert "background, cell, border" in card
    assert "18 + 2 k" in card
    assert f"bound of float32: {FLOAT32_BOUND:.0e}" in card
    assert f"errors within {FLOAT32_BOUND:.0e}".replace("e-0", "e-") in (ROOT / "docs/deploy.md").read_text()


def test_every_axis_has_its_own_size_margin_and_stride():
    config = preset("nnunet", spatial_dims=3, widths=(2, 3, 4), strides=((1, 1, 1), (1, 2, 2), (1, 2, 4)), sides=1)
    geometry = config.geometry
    manifest = described(config, DataSpec())
    assert [s["step"] for s in manifest["sizes"]] == [1, 4, 8]
    assert [s["minimum"] for s in manifest["sizes"]] == [geometry.grid(a).minimum for a in range(3)]
    assert manifest["margin"] == [geometry.margin(a) for a in range(3)]
    assert manifest["input"]["axes"] == manifest["output"]["axes"] == ["N", "C", "D", "H", "W"]
    tile = manifest["tiling"]["tile"]
    assert tile is None or manifest["tiling"]["stride"] == [tile_stride(geometry, tile[a], a) for a in range(3)]


def described(config, data, variants=(), engines=(), profile=None, licence=None):
    return describe(
        Checkpoint(config, random_tensors(config.graph, 0), data), variants, engines, profile, None, licence
    )


def test_the_manifest_names_channels_classes_versions_and_licence():
    config = CONFIG.replace(distance_head=True)
    profile = ("own", Profile((1, 18, 18), (2, 20, 22), (3, 24, 26)))
    manifest = described(config, DATA, profile=profile, licence="MIT")
    assert (manifest["format"], manifest["format_version"]) == ("unet-bundle", 1)
    assert manifest["input"] == {"name": "image", "dtype": "float32", "axes": ["N", "C", "H", "W"], "channels": 2}
    assert manifest["output"] == {"name": "logits", "dtype": "float32", "axes": ["N", "C", "H", "W"], "channels": 4}
    assert (manifest["classes"], len(manifest["colors"])) == (3, 3)
    assert manifest["colors"] == [list(colour(k)) for k in range(3)]
    assert manifest["profile"] == {"name": "own", "min": [1, 18, 18], "opt": [2, 20, 22], "max": [3, 24, 26]}
    assert manifest["licence"] == "MIT"
    assert manifest["versions"] == {
        "onnx_opset": 21, **{name: version(name) for name in ("unet-twins", "onnx", "onnxruntime")}
    }  # fmt: skip
    assert "noise" not in manifest


def test_a_network_that_needs_the_whole_image_has_no_tile():
    manifest = described(preset("same-bilinear", widths=(2, 4)), DataSpec())
    assert manifest["tiling"] == {
        "exact": False, "tile": None, "stride": None, "border": "mirrored, the edge pixel not repeated"
    }  # fmt: skip
    assert default_tile(preset("paper", spatial_dims=3, widths=(2, 4)).geometry) == (132, 132, 132)


def test_a_package_that_is_not_installed_has_no_version():
    assert _version("no-such-package") is None


FUSED = {
    "normalize": (("uint8", "N H W C", 2), ("logits", "float32", "N C H W", 4)),
    "softmax": (("float32", "N C H W", 2), ("probabilities", "float32", "N H W C", 3)),
    "argmax": (("float32", "N C H W", 2), ("labels", "uint8", "N H W", 1)),
    "normalize argmax": (("uint8", "N H W C", 2), ("labels", "uint8", "N H W", 1)),
}


@pytest.mark.parametrize("steps", FUSED)
def test_fused_steps_change_axes_and_types(steps):
    (dtype, axes, channels), result = FUSED[steps]
    point = Checkpoint(CONFIG.replace(distance_head=True), {}, DATA)
    entry = describe_fused(point, Source("a.onnx", "fp16", True), steps.split(), [])
    assert (entry["file"], entry["precision"], entry["steps"], entry["engines"]) == (
        "a.onnx",
        "fp16",
        steps.split(),
        [],
    )
    assert entry["input"] == {"name": "image", "dtype": dtype, "axes": axes.split(), "channels": channels}
    name, dtype, axes, channels = result
    assert entry["output"] == {"name": name, "dtype": dtype, "axes": axes.split(), "channels": channels}


def test_labels_of_overlapping_classes_have_an_axis_of_classes():
    data = DataSpec(class_names=("a", "b", "c"), overlapping=True)
    output = describe_fused(Checkpoint(CONFIG, {}, data), Source("a", "fp32"), ["argmax"], [])["output"]
    assert output == {"name": "labels", "dtype": "uint8", "axes": ["N", "H", "W", "C"], "channels": 2 + 1}


def test_a_single_logit_has_the_probabilities_of_two_classes():
    point = Checkpoint(CONFIG.replace(out_channels=1), {}, DataSpec())
    assert describe_fused(point, Source("a", "fp32"), ["softmax"], [])["output"]["channels"] == 2


def test_tuples_are_lists_at_all_depths():
    assert as_json({"a": (1, [2, (3,)]), "b": {"c": (4,)}, "d": "e"}) == {"a": [1, [2, [3]]], "b": {"c": [4]}, "d": "e"}
