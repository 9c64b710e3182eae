"""A file through a network whose classes may overlap: a mask for each class, and their shares."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import OpenNetwork, PredictSettings, predict_file
from unet_spec import DataSpec, InputError, preset


class Thresholds:
    """Class 0 above one half, class 1 above one quarter, class 2 nowhere."""

    name, config = "thresholds", preset("same", widths=(2, 3), out_channels=3)

    def run(self, images):
        return np.concatenate([images - 0.5, images - 0.25, -np.ones_like(images)], -1)


def test_masks_and_probabilities_of_a_file(tmp_path):
    network = OpenNetwork(Thresholds(), DataSpec(overlapping=True))
    image = np.full((20, 24), 200, np.uint8)
    image[:, :12], image[:, :6] = 100, 0
    Image.fromarray(image).save(tmp_path / "i.png")
    done = predict_file(network, tmp_path / "i.png", tmp_path / "o.tif")
    masks = tifffile.imread(tmp_path / "o.tif")
    assert masks.shape == (20, 24, 3)
    np.testing.assert_array_equal(masks, np.stack([image > 127, image > 63, image > 255], -1))
    assert done.shares == (0.5, 0.75, 0.0)
    chances = PredictSettings(output="probabilities", augment="flips")
    predict_file(network, tmp_path / "i.png", tmp_path / "p.npy", chances)
    logits = Thresholds().run(image[..., None] / np.float32(255))
    np.testing.assert_allclose(np.load(tmp_path / "p.npy"), 1 / (1 + np.exp(-logits)), rtol=1e-5)
    with pytest.raises(InputError, match="may overlap"):
        predict_file(network, tmp_path / "i.png", tmp_path / "x.tif", PredictSettings(output="objects"))
