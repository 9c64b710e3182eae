"""The target of a distance head, against its definition, and the labels that carry it."""

import numpy as np
import pytest

from unet_data import border_distances, pack_distances
from unet_spec import InputError


def by_definition(cells):
    """Every pixel of an object against every pixel that is not of it."""
    found = np.zeros(cells.shape)
    places = np.indices(cells.shape).reshape(cells.ndim, -1).T
    for number in set(np.unique(cells)) - {0}:
        own = cells.ravel() == number
        away = np.linalg.norm(places[own][:, None] - places[~own][None], axis=-1).min(1)
        found.reshape(-1)[own] = away / away.max()
    return found


@pytest.mark.parametrize("shape", [(13, 17), (5, 7, 6)])
def test_every_object_by_its_definition(shape):
    cells = np.zeros(shape, np.int32)
    cells[..., 1:3, 0:4] = 7  # cut by the edge
    cells[..., 1:5, 4:] = 2  # touches it, without a pixel between them
    cells[0, ..., 1] = 9
    found = border_distances(cells)
    np.testing.assert_allclose(found, by_definition(cells), atol=1e-6)
    assert all(found[cells == number].max() == 1 for number in (2, 7, 9))
    assert not found[cells == 0].any()


def test_objects_that_touch_are_parted_by_a_valley():
    cells = np.repeat([1, 2], 9)[None].repeat(9, 0)
    valley = border_distances(cells)[4]
    np.testing.assert_allclose(valley[8:10], 1 / 9, atol=1e-6)
    assert valley[0] == valley[-1] == 1


def test_an_image_that_is_one_object_or_none():
    assert (border_distances(np.full((3, 4), 5)) == 1).all()
    assert not border_distances(np.zeros((3, 4), int)).any()


def test_packed_labels_hold_class_and_distance():
    labels, distances = np.array([0, 3, 255, -1]), np.array([0, 0.5, 1, 1], np.float32)
    packed = pack_distances(labels, distances)
    assert packed.dtype == np.int32
    assert packed.tolist() == [0, 3 + 256 * 128, 255 + 256 * 255, -1]
    assert packed.max() < 2**24, "labels pass as float32 on a TPU"
    with pytest.raises(InputError, match="class 256 beside distances"):
        pack_distances(np.array([256]), np.zeros(1, np.float32))
