"""The eight orientations against Pillow, and windows of turned pictures against the whole."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from unet_data.io.orientation import TAG, stored_window, swaps, turned

from .helpers import noise


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_pillow_turns_them(orientation):
    stored = noise(5, 7, 3)
    image = Image.fromarray(stored)
    image.getexif()[TAG] = orientation
    upright = turned(stored, orientation)
    np.testing.assert_array_equal(upright, np.asarray(ImageOps.exif_transpose(image)))
    assert swaps(orientation) == (upright.shape[0] == 7)
    rows, columns = slice(1, 4), slice(0, 3)
    window = stored_window(rows, columns, upright.shape[:2], orientation)
    np.testing.assert_array_equal(turned(stored[window], orientation), upright[rows, columns])
