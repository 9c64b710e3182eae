"""Images as a network takes them; images of other units than those that it was trained on."""

from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import OpenNetwork, Picture
from unet_data.inference.prepare import looks_foreign, prepare
from unet_spec import DataSpec, InputError, preset

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


def spread(mean, std):
    """Pixels of exactly this mean and standard deviation."""
    return np.where(np.arange(64).reshape(8, 8, 1) % 2, mean + std, mean - std).astype(np.float64)


@pytest.mark.parametrize(
    ("mean", "std", "odd"),
    [(4.9, 1, False), (5.1, 1, True), (-4.9, 1, False), (-5.1, 1, True), (0, 4.9, False), (0, 5.1, True),
     (0, 0.11, False), (0, 0.09, True), (0, 0, False), (6, 0, True)],
)  # fmt: skip
def test_means_beyond_5_and_deviations_beyond_5_or_below_a_tenth_are_foreign(mean, std, odd):
    """In units of the training images' mean 0.5 and standard deviation 0.25."""
    message = looks_foreign(0.5 + 0.25 * spread(mean, std), DataSpec((0.5,), (0.25,)))
    assert (message is not None) is odd
    if message:
        assert "channel 0 (float64, as it is) has mean " in message
        assert f"and standard deviation {std:.3g} where" in message
        assert mean == 0 or f"mean {mean:.3g} and" in message


@pytest.mark.parametrize(("shape", "side"), [((600, 600), 512), ((80, 70, 66), 64)])
def test_only_the_middle_is_read(shape, side):
    seen = []

    def read(window):
        seen.append(tuple(s.stop - s.start for s in window))
        return np.full((*seen[-1], 1), 0.5)

    assert looks_foreign(Picture((*shape, 1), read, "memory"), DataSpec((0.5,), (0.25,))) is None
    assert seen == [(side,) * len(shape)]


def test_pixels_without_data_say_nothing_of_the_unit():
    image = np.concatenate([0.5 + 0.25 * spread(0, 1), np.full((8, 8, 1), -9999.0)])
    assert looks_foreign(image, DataSpec((0.5,), (0.25,)))
    assert looks_foreign(image, DataSpec((0.5,), (0.25,), nodata=-9999.0)) is None
    assert looks_foreign(image[8:], DataSpec((0.5,), (0.25,), nodata=-9999.0)) is None  # nothing but these
    assert looks_foreign(image * 100, DataSpec((0.5,), (0.25,), nodata=-999900.0))
    assert looks_foreign(image, DataSpec((0.5,), (0.25,), normalization="image")) is None


GREY, COLOUR = preset("same", widths=(2, 4)), preset("same", widths=(2, 4), in_channels=3)
VOLUMES = preset("same", widths=(2, 4), spatial_dims=3)


@pytest.mark.parametrize(
    ("config", "shape", "message"),
    [
        (GREY, (8, 8, 1), r"\(8, 8, 1\) have 3 axes; expected \(N, H, W, C\)"),
        (VOLUMES, (8, 8, 8, 1), r"\(8, 8, 8, 1\) have 4 axes; expected \(N, D, H, W, C\)"),
        (GREY, (0, 8, 8, 1), "have no pixels"),
        (GREY, (1, 8, 0, 1), "have no pixels"),
        (COLOUR, (1, 8, 8, 2), r"have 2 channels; the network takes 3 \(read as \(N, H, W, C\)\)"),
        (VOLUMES, (1, 8, 8, 8, 2), r"have 2 channels; the network takes 1 \(read as \(N, D, H, W, C\)\)"),
    ],
)
def test_images_of_another_shape_are_refused(config, shape, message):
    with pytest.raises(InputError, match=message):
        prepare(np.zeros(shape, np.uint8), config, DataSpec())


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, bool, np.complex64])
def test_images_of_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match=f"images are {np.dtype(dtype)}; allowed: uint8, uint16 and floating point"):
        prepare(np.zeros((1, 8, 8, 1), dtype), GREY, DataSpec())


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [(np.uint8, 51, 0.2), (np.uint16, 13107, 0.2), (np.float64, 3.5, 3.5), (">f2", 2, 2)],
)
def test_integers_are_divided_by_the_largest_value_and_floats_kept(dtype, value, expected):
    found = prepare(np.full((2, 4, 6, 1), value, dtype), GREY, DataSpec())
    assert (found.dtype, found.shape) == (np.float32, (2, 4, 6, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    normal = prepare(np.full((2, 4, 6, 1), value, dtype), GREY, DataSpec((0.1,), (0.5,)))
    np.testing.assert_allclose(normal, (expected - 0.1) / 0.5, rtol=1e-5)


def test_values_that_are_not_finite_are_counted():
    image = np.ones((1, 4, 4, 1), np.float32)
    image[0, 0, :3, 0] = np.nan, np.inf, -np.inf
    with pytest.raises(InputError, match="images contain 3 NaN or infinite values of 16"):
        prepare(image, GREY, DataSpec())
    with pytest.raises(InputError, match="contain only NaN or infinite values; the network"):
        prepare(image * np.nan, GREY, DataSpec())
    with pytest.raises(InputError, match="contain 2 NaN or infinite values of 16"):
        prepare(image, GREY, DataSpec(nodata=np.nan))


def test_pixels_without_data_become_0():
    image = np.full((2, 4, 4, 1), 7, np.uint8)
    image[1, 2, 3] = 255
    found = prepare(image, GREY, DataSpec(nodata=255.0))
    assert found[1, 2, 3] == 0
    np.testing.assert_allclose(np.delete(found.ravel(), 16 + 11), 7 / 255, rtol=1e-6)


def test_each_image_is_normalised_by_itself_where_the_network_asks():
    images = np.random.default_rng(0).normal([[[[2]]], [[[50]]]], 3, (2, 16, 16, 1))
    found = prepare(images, GREY, DataSpec(normalization="image"))
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(found.std((1, 2, 3)), 1, rtol=1e-4)


def network(data):
    return OpenNetwork(SimpleNamespace(config=GREY), data)


def test_channels_are_adapted_as_in_training_with_a_warning():
    rgb = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 3)).astype(np.uint8)
    with pytest.raises(InputError, match="have 3 channels; the network takes 1"):
        prepare(rgb, GREY, DataSpec())
    with pytest.warns(UserWarning, match="as in training") as caught:
        found = network(DataSpec(reading={"channels": "grey"})).prepare(rgb)
    assert found.shape == (1, 8, 8, 1)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="equal") as caught:
        found = network(DataSpec()).prepare(rgb[..., [1, 1, 1]])
    np.testing.assert_array_equal(found, rgb[..., 1:2] / np.float32(255))
    assert caught[0].filename == __file__
    with pytest.raises(InputError, match="have 3 channels; the network takes 1"):
        prepare(rgb[..., [1, 1, 2]], GREY, DataSpec())
