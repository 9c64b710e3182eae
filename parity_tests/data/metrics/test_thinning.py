"""Borders thinned to one pixel."""

import math

import numpy as np
import pytest

from unet_data.labels.regions import regions
from unet_data.metrics.clustering import overlap, v_rand
from unet_data.metrics.thinning import thin_borders


def test_thinning_gives_each_pixel_to_the_nearest_object():
    objects = np.zeros((5, 9), int)
    objects[1, 0], objects[3, 8] = 4, 2
    thin = thin_borders(objects)
    for y, x in np.ndindex(objects.shape):
        near, far = math.hypot(y - 1, x), math.hypot(y - 3, x - 8)
        if near != far:
            assert thin[y, x] == (4 if near < far else 2)
    assert not thin_borders(np.zeros((3, 3), int)).any()


def test_the_width_of_a_border_does_not_matter_after_thinning():
    truth = np.zeros((20, 40), int)
    truth[:, :19], truth[:, 21:] = 1, 2
    for half in (1, 4, 8):
        inside = np.ones((20, 40), bool)
        inside[:, 20 - half : 20 + half] = False
        assert v_rand(overlap(thin_borders(regions(inside)), truth)) == 1
    broken = np.ones((20, 40), bool)
    broken[1:, 18:22] = False  # a gap of one pixel joins both
    assert v_rand(overlap(thin_borders(regions(broken)), truth)) == pytest.approx(0.5 / 0.75, abs=1e-3)
