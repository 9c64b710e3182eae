"""Objects of pictures that one can see through, in memory."""

import numpy as np
import pytest
from scipy import ndimage

from unet_data import ObjectSettings, objects_of
from unet_spec import InputError

from .maps import discs


def test_touching_discs_part_and_single_ones_stay_whole():
    circles = [(30, 30, 14), (30, 54, 13), (80, 30, 9), (80, 70, 20), (20, 90, 5)]
    labels, classes = objects_of(discs((110, 110), circles))
    assert labels.dtype == np.uint32
    assert classes.tolist() == [1] * 5
    numbers = [labels[y, x] for y, x, _ in circles]
    assert sorted(numbers) == [1, 2, 3, 4, 5]
    assert numbers[4] == 1  # its first pixel is the first of all
    assert ndimage.label(labels > 0)[1] == 4


def test_touching_balls_part():
    labels, _ = objects_of(discs((30, 30, 50), [(15, 15, 15, 10), (15, 15, 33, 10)]), dims=3)
    assert labels.max() == 2
    assert labels[15, 15, 15] != labels[15, 15, 33]


def test_an_ellipse_of_any_direction_is_one_object():
    y, x = np.indices((90, 90)) - 45
    for angle in np.linspace(0, np.pi, 9):
        u, v = y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)
        assert objects_of(((u / 38) ** 2 + (v / 9) ** 2 <= 1).astype(float))[0].max() == 1, angle


def test_the_class_is_that_of_most_of_the_probability():
    p = np.zeros((4, 9, 3))
    p[..., 0] = 1
    p[1:3, 1:4] = 0, 0.6, 0.4
    p[1:3, 5:8] = 0, 0.3, 0.7
    p[1, 5] = 0, 1, 0  # one pixel of another opinion
    labels, classes = objects_of(p)
    assert labels.max() == 2
    assert classes.tolist() == [1, 2]


def test_sizes_and_order():
    mask = discs((40, 60), [(20, 15, 8), (8, 40, 3), (30, 45, 5)])
    sizes = [int((ndimage.label(mask)[0] == i).sum()) for i in (1, 2, 3)]
    assert objects_of(mask)[0].max() == 3
    assert objects_of(mask, ObjectSettings(minimum_size=sizes[0] + 1))[0].max() == 2
    labels, _ = objects_of(mask, ObjectSettings(minimum_size=sizes[0], maximum_size=sizes[2]))
    assert [labels[8, 40], labels[20, 15], labels[30, 45]] == [1, 0, 2]


def test_two_classes_are_the_probability_of_class_1():
    one = discs((20, 20), [(10, 10, 5)]) / 255
    np.testing.assert_array_equal(objects_of(np.stack([1 - one, one], -1))[0], objects_of(one)[0])


@pytest.mark.parametrize("shape", [(4,), (0, 4), (4, 4, 1), (4, 4, 4, 2)])
def test_other_axes_are_refused(shape):
    with pytest.raises(InputError, match="shape"):
        objects_of(np.zeros(shape))
