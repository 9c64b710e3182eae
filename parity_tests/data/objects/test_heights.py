"""The height of each pixel, against plain definitions."""

import numpy as np
import pytest
from scipy import ndimage

from unet_data import ObjectSettings
from unet_data.objects.heights import OUT, heights, quantised
from unet_spec import InputError

from .maps import blobs, discs


def test_distances_are_squared_and_cut_at_reach():
    mask = discs((21, 23), [(10, 11, 8)])
    got = heights(mask, 2, ObjectSettings(reach=5))
    expected = np.minimum(ndimage.distance_transform_edt(mask), 5) ** 2
    np.testing.assert_array_equal(got, np.where(mask > 0, np.rint(expected), OUT))
    assert got.max() == 25


def test_spacing_counts_in_distances():
    flat = np.full((5, 9, 9), 255, np.uint8)
    flat[:, 4, 4] = 0
    flat[0] = 0
    got = heights(flat, 3, ObjectSettings(spacing=(3, 1, 1), reach=10))
    assert got[1, 0, 0] == 9  # one plane away from the empty one
    assert got[4, 4, 6] == 4


def test_everything_inside_is_as_deep_as_reach():
    assert (heights(np.full((4, 4), 255, np.uint8), 2, ObjectSettings(reach=7)) == 49).all()


@pytest.mark.parametrize("size", [0, 1, 4, 5])
def test_holes_up_to_a_size_are_filled(size):
    mask = np.full((9, 12), 255, np.uint8)
    mask[2, 2] = mask[3, 3] = mask[4, 2] = mask[5, 3] = 0  # 4 pixels that meet at corners: one hole
    mask[7, 8] = 0
    mask[0, 10] = 0  # at the edge of the image: no hole
    got = heights(mask, 2, ObjectSettings(fill_holes=size)) != OUT
    assert got[7, 8] == (size >= 1)
    assert got[3, 3] == (size >= 4)
    assert not got[0, 10]


def test_growth_stays_in_the_foreground_and_counts_steps():
    p = np.array([[10, 90, 90, 90, 200, 90, 90, 10, 90]], np.uint8)
    got = heights(p, 2, ObjectSettings(foreground=0.3, core=0.6, grow=2))
    np.testing.assert_array_equal(got[0], [OUT, OUT, -2, -1, 1, -1, -2, OUT, OUT])


def test_smoothing_is_1_2_1_along_each_axis():
    p = np.zeros((5, 5), np.uint8)
    p[2, 2] = 255
    peak = 255 / 4  # of the middle: half of a half
    assert (heights(p, 2, ObjectSettings(smoothing=1, core=peak / 255)) != OUT).sum() == 1
    assert (heights(p, 2, ObjectSettings(smoothing=1, core=peak / 255 + 0.001)) != OUT).sum() == 0


def test_a_border_class_is_foreground_but_no_core():
    p = np.array([[[0, 255, 0], [0, 55, 200], [255, 0, 0]]], np.uint8)
    settings = ObjectSettings("probability", border=2, grow=1)
    np.testing.assert_array_equal(heights(p, 2, settings)[0], [255 * 256, -1, OUT])
    assert heights(p, 2, ObjectSettings("probability"))[0, 1] == 255 * 256


def test_thresholds_include_their_value():
    p = np.array([[127, 128]], np.uint8)
    assert (heights(p, 2, ObjectSettings())[0] != OUT).tolist() == [False, True]  # 127 / 255 < 0.5
    assert (heights(p, 2, ObjectSettings(core=127 / 255, foreground=1.0))[0] != OUT).all()


def test_probabilities_are_rounded_as_in_a_file():
    assert quantised(np.array([0, 0.5, 1.0])).tolist() == [0, 128, 255]
    assert quantised(blobs((4, 4), 0)).dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.array([3.0]), "expected 0..1"), (np.array([np.nan]), "0..1"), (np.array([1]), "floats in 0..1")],
)
def test_what_is_no_probability_is_refused(values, message):
    with pytest.raises(InputError, match=message):
        quantised(values)


@pytest.mark.parametrize(("shape", "border"), [((4, 4), 1), ((4, 4, 3), 3)])
def test_a_border_class_that_does_not_exist(shape, border):
    with pytest.raises(InputError, match="border"):
        heights(np.zeros(shape, np.uint8), 2, ObjectSettings(border=border))


def test_a_predicted_distance_is_the_height_and_no_class():
    values = np.array([[[55, 200, 9], [255, 0, 99], [0, 255, 0]]], np.uint8)
    settings = ObjectSettings("predicted", distance=2)
    np.testing.assert_array_equal(heights(values, 2, settings)[0], [9 * 256, OUT, 1])
    measured = heights(values, 2, ObjectSettings("probability", distance=2))
    np.testing.assert_array_equal(measured, heights(values[..., :2], 2, ObjectSettings("probability")))
    for wrong, message in (
        ((values, ObjectSettings("predicted")), "needs the predicted distance"),
        ((values[..., 0], settings), "expected 2 classes and the distance"),
        ((values[..., :2], settings), "expected 2 classes and the distance"),
    ):
        with pytest.raises(InputError, match=message):
            heights(wrong[0], 2, wrong[1])
