"""Units of length, and the pixel size that a user states."""

import pytest

from unet_data.io.formats.units import METRES, in_one_unit, parse_pixel_size, plain_unit, symbol
from unet_spec import InputError


def test_every_spelling_of_a_unit_is_one():
    assert {symbol(word) for word in ("micrometer", "micron", "um", "µm", "\u03bcm")} == {"µm"}


def test_letters_that_files_escape():
    assert {plain_unit(text) for text in ("µm", "\\u00B5m", "&#181;m", "&#xB5;m")} == {"µm"}


def test_axes_in_units_of_their_own_get_one():
    assert in_one_unit((300.0, 0.1, 0.1), ("nm", "µm", "um")) == ((0.3, 0.1, 0.1), "um")
    assert in_one_unit((3.0, 1.0, 1.0), ("", "mm", "mm")) == ((3.0, 1.0, 1.0), "mm")
    assert in_one_unit((3.0, 1.0), ("", "")) == ((3.0, 1.0), "")
    assert in_one_unit((3.0, 1.0), ("furlong", "mm")) == (None, "")


@pytest.mark.parametrize(
    ("word", "metres"),
    [("nanometer", 1e-9), ("angstrom", 1e-10), ("micron", 1e-6), ("millimeter", 1e-3), ("centimeter", 1e-2), ("m", 1)],
)
def test_lengths_of_units_in_metres(word, metres):
    assert METRES[symbol(word)] == metres


@pytest.mark.parametrize(
    ("text", "size", "unit"),
    [
        ("", (), ""),
        ("5,1,1 mm", (5, 1, 1), "mm"),
        (" 0.5 , 0.25 micron ", (0.5, 0.25), "µm"),
        ("0.65um", (0.65,), "µm"),
        ("1e-3 mm", (0.001,), "mm"),
        ("4 nm", (4,), "nm"),
    ],
)
def test_numbers_and_unit_of_a_pixel_size(text, size, unit):
    assert parse_pixel_size(text) == (size, unit)


@pytest.mark.parametrize(
    "text", ["5,1,1", "mm", "0 mm", "-1 mm", "nan mm", "inf mm", "1,2,3,4 mm", "2 furlong", "1;2 mm", "1 mm 2"]
)
def test_other_texts_are_refused_with_an_example(text):
    with pytest.raises(InputError, match=r"one to three numbers above 0.*and a unit.*'5,1,1 mm' or '0.65 µm'"):
        parse_pixel_size(text)
