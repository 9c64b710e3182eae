"""The manifest's description of the network."""

import pytest

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import FLOAT32_BOUND, is_bundle, open_bundle, read_manifest
from unet_spec.tiling.tiles import plan_tiles

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
