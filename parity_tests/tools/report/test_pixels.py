"""The colours of errors."""

import dataclasses
import math

import numpy as np
import pytest

from unet_tools.report import Example
from unet_tools.report.pixels import (
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    UNLABELLED,
    color_classes,
    color_errors,
    color_image,
    color_probability,
    data_uri,
    error_legend,
    panels,
    to_8_bit,
)

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


def test_errors_have_their_colours():
    label, prediction = np.array([[0, 0, 1, 1, -1]]), np.array([[0, 1, 0, 1, 1]])
    shown = Example("x", np.zeros((1, 5), np.uint8), label, prediction)
    picture = color_errors(shown)[0]
    assert picture[1].tolist() == FALSE_POSITIVE.tolist()
    assert picture[2].tolist() == FALSE_NEGATIVE.tolist()
    assert picture[0].tolist() == picture[3].tolist() == picture[4].tolist() == [185] * 3
    assert shown.error == 0.5
    assert color_classes(label)[0, 4].tolist() == UNLABELLED.tolist()
    assert all(p.shape == (1, 5, 3) and p.dtype == np.uint8 for p in panels(shown).values())
    assert math.isnan(dataclasses.replace(shown, label=np.full((1, 5), -1)).error or 0)


OKABE_ITO = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"]


def web(color) -> str:
    return f"#{bytes(np.asarray(color).tolist()).hex()}"


def test_classes_have_the_colours_of_okabe_and_ito_after_those_of_membrane_and_cell():
    expected = ["#202830", "#ecf0f3", *OKABE_ITO, *OKABE_ITO, OKABE_ITO[0]]
    assert [web(c) for c in color_classes(np.arange(17)[None])[0]] == expected
    assert [web(c) for c in color_classes(np.array([[-1, -9]]))[0]] == ["#969696"] * 2
    assert web(color_classes(np.array([[255]], np.uint8))[0, 0]) == OKABE_ITO[(255 - 2) % 7]
    shares = np.array([[0.0, 0.25, 1.0, -1.0, 2.0, np.nan]], np.float32)
    assert [web(c) for c in color_probability(shares)[0]] == [
        "#202830", "#535a61", "#ecf0f3", "#202830", "#ecf0f3", "#202830"
    ]  # fmt: skip


def test_errors_are_on_the_faded_image_and_have_a_legend():
    image = np.array([[[0, 0, 0], [255, 255, 255], [30, 60, 90]]], np.uint8)
    label = np.array([[0, 1, 1]])
    right = Example("x", image, label, label)
    assert color_errors(right)[0].tolist() == [[185] * 3, [250] * 3, [200] * 3]
    assert error_legend(right) == [("#d55e00", "false positive"), ("#0072b2", "false negative")]
    many = Example("x", image, np.array([[0, 2, 1]]), np.array([[1, 0, 0]]))
    assert error_legend(many) == [("#d55e00", "wrong")]
    assert [web(c) for c in color_errors(many)[0]] == ["#d55e00"] * 3
    assert list(panels(many)) == ["image", "label", "prediction", "errors"]
    alone = Example("x", image, None, label, label * 0.5)
    assert list(panels(alone)) == ["image", "prediction", "probability"]
    with pytest.raises(ValueError, match="has no label"):
        color_errors(alone)


def test_images_become_8_bit_and_keep_their_colours():
    wide = np.array([[[100.0], [300.0], [200.0]]], np.float32)
    np.testing.assert_array_equal(to_8_bit(wide), [[0, 255, 128]])
    np.testing.assert_array_equal(to_8_bit(np.full((1, 2, 1), 7, np.int16)), [[0, 0]])
    colours = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(to_8_bit(colours), colours[..., :3])
    np.testing.assert_array_equal(to_8_bit(colours[..., :2]), colours[..., 0])
    grey = color_image(colours[..., 0])
    np.testing.assert_array_equal(grey, np.stack([colours[..., 0]] * 3, -1))
    np.testing.assert_array_equal(color_image(grey), grey)


@pytest.mark.parametrize(("side", "step"), [(1024, 1), (1025, 2), (2049, 3)])
def test_a_picture_of_the_page_is_a_png_of_at_most_1024_pixels_a_side(side, step):
    import base64
    import io

    from PIL import Image

    picture = np.zeros((6, side, 3), np.uint8)
    picture[..., 0] = np.arange(side) % 251
    head, _, content = data_uri(picture).partition(",")
    assert head == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), picture[::step, ::step])
    picture[0, :, 1:] = np.random.default_rng(0).integers(0, 256, (side, 2))
    with Image.open(io.BytesIO(base64.b64decode(data_uri(picture).partition(",")[2]))) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), picture[::step, ::step])
