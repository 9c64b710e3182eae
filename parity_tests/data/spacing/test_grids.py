"""Windows of a resampled image, missing data, and what is said of it."""

from __future__ import annotations

import numpy as np

from unet_data import FileFacts, Picture, TargetSpacing
from unet_data.spacing.grids import for_network, grids_of, noted
from unet_spec import DataSpec

TARGET = TargetSpacing((1.0, 1.0, 1.0), "mm")


def test_a_picture_is_the_image_in_every_window():
    image = np.random.default_rng(0).integers(0, 60000, (9, 14, 12, 2)).astype(np.uint16)
    facts = FileFacts(spacing=(5.0, 1.0, 1.3), unit="mm")
    grids = grids_of(image.shape[:-1], facts, TARGET)
    assert grids is not None
    assert grids.orders == (1, 3, 3)
    picture = grids.picture(Picture(image.shape, image.__getitem__, "memory", facts=facts))
    whole = grids.image(image)
    assert picture.shape == whole.shape == (45, 14, 16, 2)
    for window in ((slice(0, 45), slice(0, 14), slice(0, 16)), (slice(20, 33), slice(3, 4), slice(15, 16))):
        np.testing.assert_array_equal(picture[window], whole[window])
    assert picture[0:0, 0:2, 0:2].size == 0


def test_a_value_for_missing_data_is_not_mixed_with_others():
    image = np.full((6, 8, 1), 10.0, np.float32)
    image[:, 4:] = -9999
    grids = grids_of((6, 8), FileFacts(spacing=(1.0, 1.0), unit="mm", nodata=-9999.0), TargetSpacing((0.4, 0.4), "mm"))
    assert grids is not None
    assert set(np.unique(grids.image(image))) == {10.0, -9999.0}


def test_a_decision_says_what_was_done():
    data, shape = DataSpec(spacing=(1.0, 1.0), spacing_unit="mm"), (8, 8)
    assert noted(FileFacts(spacing=(1.0, 1.0), unit="mm"), shape, data).read_as == ()
    assert noted(FileFacts(), shape, DataSpec()).read_as == ()
    [done] = noted(FileFacts(spacing=(2.0, 1.0), unit="mm"), shape, data).read_as
    assert done == "resampled to pixels of 1 x 1 mm for the network, and its result back"
    [unknown] = noted(FileFacts(), shape, data).read_as
    assert unknown == "not resampled, since no pixel size is stated; the network expects pixels of 1 x 1 mm"


def test_a_picture_without_another_pixel_size_is_the_same_object():
    picture = Picture((9, 9, 1), lambda window: np.zeros((1, 1, 1)), "memory", facts=FileFacts(spacing=(2.0, 2.0)))
    assert for_network(picture, DataSpec()) is picture
    assert for_network(picture, DataSpec(spacing=(2.0, 2.05), spacing_unit="mm")) is picture
    assert for_network(picture, DataSpec(spacing=(1.0, 2.0), spacing_unit="mm")).shape == (18, 9, 1)
