"""A bundle of a network with a latent variable describes its noise."""

import numpy as np

from unet_export import BundleSettings, load, write_bundle
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.ops import draw_noise
from unet_tools.checking.runtimes import check_bundle

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def test_a_bundle_of_it_says_what_its_noise_is(tmp_path):
    bundle = write_bundle(checkpoint_of(PROBABILISTIC), tmp_path / "bundle", BundleSettings(("fp16",), engines=False))
    noise = bundle.manifest["noise"]
    assert (noise["name"], noise["features"]) == ("noise", 3)
    assert "`noise`: float32, (S, 3)" in (bundle.folder / "README.md").read_text()
    predictor = load(bundle, "onnx")
    x = np.random.default_rng(0).normal(size=(1, 8, 12, 1)).astype(np.float32)
    zeros = predictor.runtime.run(x)
    np.testing.assert_array_equal(zeros, predictor.runtime.run(x, np.zeros((1, 3), np.float32)))  # type: ignore[call-arg]
    drawn = predictor.runtime.run(x, draw_noise(PROBABILISTIC.graph, 5, 0))  # type: ignore[call-arg]
    assert drawn.shape == (5, *zeros.shape[1:])
    assert all(f.ok is not False for f in check_bundle(bundle.folder))
