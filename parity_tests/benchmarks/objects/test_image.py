"""The image of synthetic nuclei, and what the network is trained on."""

import numpy as np
import tifffile

from benchmarks.objects.image import draw, picture, training_data


def test_the_file_holds_the_windows_of_the_image(tmp_path):
    draw(tmp_path / "a.tif", 600)
    image = tifffile.imread(tmp_path / "a.tif")
    assert image.shape == (600, 600)
    assert (image[512:, :512] == picture((512, 0), (1024, 512))[:88]).all()


def test_labels_are_where_the_nuclei_are():
    data = training_data(2, 128)
    assert data.labels is not None
    for image, label in zip(data.images, data.labels, strict=True):
        assert 0.1 < label.mean() < 0.9
        assert image[..., 0][label == 1].mean() > image[..., 0][label == 0].mean() + 60
    assert not np.array_equal(*data.images)
