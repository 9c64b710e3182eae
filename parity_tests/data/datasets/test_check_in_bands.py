"""The check of data that stay in their files: the same findings, and a band of rows in memory."""

import numpy as np
import pytest

import unet_data.datasets.plausible
import unet_data.datasets.stored
import unet_data.windows
from unet_data import open_dataset, open_stored
from unet_data.datasets.check import check_dataset

from ...fixtures.pictures import GREY, IMAGES, LABELS, write


@pytest.mark.parametrize("band", [1, 300, unet_data.windows.BAND])
def test_the_check_finds_the_same_by_bands(band, tmp_path, monkeypatch):
    alike = [image.repeat(3, -1) for image in GREY]
    own = [label[..., None] for label in LABELS]
    for name, images, planted in (
        ("colour", IMAGES, ("the same picture", "nearly", "empty", "no value")),
        ("grey as colour", alike, ("three equal channels",)),
        ("masks", own, ("are the same picture",)),
    ):
        path = write(tmp_path / name, "tif", images, LABELS)
        with monkeypatch.context() as patch:
            wanted = check_dataset(open_dataset(path), 64)
            patch.setattr(unet_data.windows, "BAND", band)
            assert check_dataset(open_stored(path), 64) == wanted
        words = "\n".join(p.what for p in wanted)
        assert [each for each in planted if each not in words] == []


def test_the_check_reads_no_more_than_a_band(tmp_path, monkeypatch):
    path = write(tmp_path, "npy", IMAGES, LABELS)
    monkeypatch.setattr(unet_data.windows, "BAND", 4 * 51)
    monkeypatch.setattr(unet_data.datasets.plausible, "SIDE", 4)  # the window whose edges are compared
    sizes, read = [], unet_data.datasets.stored.Stored.__getitem__

    def spied(stored, window):
        found = read(stored, window)
        sizes.append(found.shape[0] if isinstance(found, np.ndarray) else 0)
        return found

    monkeypatch.setattr(unet_data.datasets.stored.Stored, "__getitem__", spied)
    check_dataset(open_stored(path))
    assert max(sizes) == 4
