"""Images of other units than those that a network was trained on."""

import numpy as np
import pytest

from unet_data.inference.prepare import looks_foreign
from unet_spec import DataSpec

TRAINED = DataSpec((0.5,), (0.18,))


def pixels(scale, dtype, size=(700, 90)):
    """As the training images, but in units of `scale`, and dark at the borders, which nobody looks at."""
    image = np.random.default_rng(1).normal(0.5, 0.18, (*size, 1)).clip(0, 1)
    image[:50] = 0
    return (image * scale).astype(dtype)


@pytest.mark.parametrize(("scale", "dtype"), [(1, "f4"), (255, "u1"), (65535, "u2"), (0.8, "f4"), (40, "u1")])
def test_images_of_the_units_trained_on_pass(scale, dtype):
    assert looks_foreign(pixels(scale, dtype), TRAINED) is None


@pytest.mark.parametrize(
    ("scale", "dtype", "how"), [(255, "f4", "as it is"), (4095, "u2", "divided by 65535"), (1 / 255, "f4", "as it is")]
)
def test_images_of_other_units_are_reported(scale, dtype, how):
    printed = looks_foreign(pixels(scale, dtype), TRAINED)
    assert printed is not None
    assert how in printed


def test_volumes_channels_and_what_says_nothing():
    wrong = np.stack([pixels(1, "f4")[..., 0], pixels(255, "f4")[..., 0]], -1)
    assert "channel 1" in (looks_foreign(wrong, DataSpec((0.5, 0.5), (0.18, 0.18))) or "")
    volume = np.random.default_rng(0).normal(127, 40, (5, 90, 80, 1)).astype(np.float32)
    assert looks_foreign(volume, TRAINED)
    assert looks_foreign(volume, DataSpec()) is None
    assert looks_foreign(volume[0], DataSpec((0.5,) * 3, (1.0,) * 3)) is None  # refused elsewhere: other channels
    assert looks_foreign(np.zeros((60, 60, 1), np.uint8), TRAINED) is None  # a constant window is no other unit
