"""Sample data are reproducible."""

import numpy as np

from unet_data import membranes
from unet_tools.napari_plugin.samples import sample_cells, sample_membranes, sample_volume


def test_samples_are_images_with_their_truth():
    (image, _, kind), (truth, arguments, of) = sample_membranes()
    assert (kind, of) == ("image", "labels")
    assert np.array_equal(image, membranes(1, 384, seed=0).images[0][..., 0])
    assert arguments["features"]["class"] == ["membrane", "cell"]
    assert image.shape == truth.shape
    cells = sample_cells()
    assert cells[0][0].shape == cells[1][0].shape
    assert cells[1][0].max() > 5
    volume = sample_volume()
    assert volume[0][0].shape == (48, 96, 96)
    assert {arguments["scale"] for _, arguments, _ in volume} == {(4.0, 1.0, 1.0)}
