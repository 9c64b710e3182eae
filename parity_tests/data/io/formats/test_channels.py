"""Grey through networks of colour, and colour through networks of grey: each reader, data set and array alike."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import (
    OpenNetwork,
    PredictSettings,
    ReadSettings,
    open_dataset,
    open_pictures,
    open_stored,
    predict_file,
    prepare,
    read_stack,
    to_grey,
)
from unet_data.metrics.evaluate import check_fits
from unet_spec import DataSpec, preset

from ..helpers import noise, refused

GREY, RGB = noise(20, 24), noise(20, 24, 3, seed=1)
EQUAL = np.repeat(GREY[..., None], 3, -1)
REPEAT, TO_GREY = ReadSettings(channels="repeat"), ReadSettings(channels="grey")
CONFIG = preset("same", widths=(2, 3))


def save(path, pixels):
    if path.suffix == ".npy":
        np.save(path, pixels)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    else:
        Image.fromarray(pixels).save(path)
    return path


def whole(picture):
    return picture[tuple(slice(0, n) for n in picture.shape[:-1])]


def test_equal_channels_keep_their_value_and_others_are_weighed():
    for dtype in (np.uint8, np.uint16, np.float32):
        values = noise(50, dtype=dtype)
        np.testing.assert_array_equal(to_grey(np.repeat(values[:, None], 3, -1))[:, 0], values)
    assert to_grey(np.array([[0, 255, 0]], np.uint8)).tolist() == [[150]]


@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
@pytest.mark.parametrize("limit", [0, 2**28])
def test_every_reader_adapts_alike(ending, limit, tmp_path):
    grey, rgb = save(tmp_path / f"grey.{ending}", GREY), save(tmp_path / f"rgb.{ending}", RGB)
    for path, settings, channels, expected, words in (
        (grey, REPEAT, 3, EQUAL, "grey repeated"), (grey, REPEAT, None, EQUAL, "grey repeated"),
        (rgb, TO_GREY, 1, to_grey(RGB), "colour converted to grey"), (rgb, REPEAT, 3, RGB, ""),
        (grey, TO_GREY, 1, GREY[..., None], ""),
    ):  # fmt: skip
        [picture] = open_pictures(path, 2, channels, whole_below=limit, settings=settings)
        assert picture.shape == expected.shape
        np.testing.assert_array_equal(whole(picture), expected)
        np.testing.assert_array_equal(picture[3:9, 5:6], expected[3:9, 5:6])
        assert [note[: len(words)] for note in picture.facts.read_as] == [words] * bool(words)
        if ending != "npy":
            np.testing.assert_array_equal(read_stack(path, settings)[0], expected)


@pytest.mark.parametrize("ending", ["png", "tif", "npy"])
def test_three_equal_channels_are_one_for_a_network_of_grey(ending, tmp_path):
    [picture] = open_pictures(save(tmp_path / f"equal.{ending}", EQUAL), 2, 1)
    np.testing.assert_array_equal(whole(picture)[..., 0], GREY)
    assert picture.facts.read_as == ("three equal channels read as one",)
    odd = EQUAL.copy()
    odd[-1, -1, 2] ^= 1
    message = refused(open_pictures, save(tmp_path / f"odd.{ending}", odd), 2, 1)
    assert "--channels grey converts colour to grey" in message
    assert "--channels repeat" in refused(open_pictures, save(tmp_path / f"grey.{ending}", GREY), 2, 3)


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_data_sets(opened, tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for name, image in (("a", GREY), ("b", RGB)):
        save(tmp_path / "images" / f"{name}.png", image)
        save(tmp_path / "labels" / f"{name}.png", (GREY > 99).astype(np.uint8))
    assert "--channels repeat or grey" in refused(opened, tmp_path)
    data = opened(tmp_path, settings=REPEAT)
    assert data.channels == 3
    assert data.decisions == ["grey repeated as three equal channels: 1 of 2 images"]
    assert "--channels grey" in refused(check_fits, CONFIG, data)
    assert data.for_channels(1) is data
    grey = opened(tmp_path, settings=TO_GREY)
    np.testing.assert_array_equal(np.asarray(grey.images[1]), to_grey(RGB))
    assert "--channels repeat" in refused(check_fits, CONFIG.replace(in_channels=3), grey)
    save(tmp_path / "images" / "a.png", EQUAL)
    save(tmp_path / "images" / "b.png", EQUAL[::-1])
    one = opened(tmp_path).for_channels(1)
    np.testing.assert_array_equal(np.asarray(one.images[1])[..., 0], GREY[::-1])
    assert one.decisions == ["three equal channels read as one: 2 of 2 images"]
    check_fits(CONFIG, one)


def test_arrays_are_taken_as_training_read_its_files():
    colour, data = CONFIG.replace(in_channels=3), DataSpec((0.5,), (0.2,))
    with pytest.warns(UserWarning, match="three equal channels read as one"):
        found = prepare(EQUAL[None], CONFIG, data)
    np.testing.assert_array_equal(found, prepare(GREY[None, ..., None], CONFIG, data))
    assert "unet_data.to_grey(images) converts" in refused(prepare, RGB[None], CONFIG, data)
    three = DataSpec((0.5,) * 3, (0.2,) * 3)
    assert "np.repeat(images, 3, -1)" in refused(prepare, GREY[None, ..., None], colour, three)
    with pytest.warns(UserWarning, match="grey repeated as three equal channels, as in training"):
        found = prepare(GREY[None, ..., None], colour, replace(three, reading={"channels": "repeat"}))
    np.testing.assert_array_equal(found, prepare(EQUAL[None], colour, three))


class Mean:
    """A network of two classes: the mean of the channels, and its opposite."""

    name, config = "made", CONFIG.replace(in_channels=3)

    def run(self, images):
        mean = images.mean(-1, keepdims=True)
        return np.concatenate([-mean, mean], -1)


def test_a_file_is_predicted_with_the_option(tmp_path):
    network, path = OpenNetwork(Mean(), DataSpec((0.5,) * 3, (0.2,) * 3)), save(tmp_path / "grey.png", GREY)
    assert "--channels repeat" in refused(predict_file, network, path, tmp_path / "a.png")
    done = predict_file(network, path, tmp_path / "a.png", PredictSettings(reading=REPEAT))
    assert done.facts.read_as == ("grey repeated as three equal channels",)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), GREY > 127)
