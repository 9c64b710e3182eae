"""Cells and border weights of a window, as of the whole image."""

import numpy as np
import pytest

import unet_data.windows as tiles_module
from unet_data import Dataset
from unet_data.datasets.border_weights import weight_maps
from unet_data.datasets.window_weights import connected_cells, window_weights

from ...fixtures.pictures import MADE


def test_damaged_cells_are_numbered_again(tmp_path):
    label = MADE.labels[0]
    wanted = np.asarray(connected_cells(label, tmp_path))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for wrong in (*(content[:length] for length in (0, 5, 40, 128, 300, len(content) - 1)), bytes(900), b"PK damaged"):
        file.write_bytes(wrong)
        np.testing.assert_array_equal(np.asarray(connected_cells(label, tmp_path)), wanted)
        assert file.read_bytes() == content


def test_a_window_sees_cells_as_far_as_they_weigh(tmp_path):
    """One just outside of it, the other 36 pixels away, where the farthest that weigh are 60."""
    label = np.zeros((1, 99), np.int32)
    label[0, 28], label[0, 75] = 1, 1
    data = Dataset((np.zeros((1, 99, 1), np.uint8),), (label,), ("a",), ("background", "foreground"), "here")
    whole = weight_maps(data, 1e6, 10, False, tmp_path)[0]
    window = (slice(0, 1), slice(30, 40))
    found = window_weights(data, 1e6, 10, False, tmp_path)[0][window]
    np.testing.assert_array_equal(found, whole[window])
    assert (found > 2).all()


@pytest.mark.parametrize("shape", [(40, 33), (9, 14, 12)])
def test_cells_are_one_across_the_bands(shape, tmp_path, monkeypatch):
    """Bands of one row: noise near the percolation threshold, whose regions wind through many; squares; one region."""
    from scipy import ndimage

    monkeypatch.setattr(tiles_module, "BAND", 1)
    rng = np.random.default_rng(0)
    for inside in (rng.random(shape) < 0.6, np.indices(shape).sum(0) % 2 == 1, np.ones(shape, bool)):
        found = np.asarray(connected_cells(inside.astype(np.int32), tmp_path))
        wanted, count = ndimage.label(inside)
        pairs = np.unique(np.stack([found.ravel(), wanted.ravel()]), axis=1)
        assert pairs.shape[1] == count + (not inside.all())  # a bijection
        assert ((pairs[0] == 0) == (pairs[1] == 0)).all()
