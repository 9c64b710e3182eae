"""Pixel sizes of files, and the numbers of pixels after resampling."""

from __future__ import annotations

import math

import pytest

from unet_data import FileFacts
from unet_data.spacing.target import TargetSpacing, coarse_axis, parse_spacing, pixel_size, target_shape
from unet_spec import DataSpec, InputError


def test_the_text_of_a_target_is_read_again():
    target = TargetSpacing((1.0 / 3, 0.875, 12345.678), "mm")
    assert str(target) == "0.3333 x 0.875 x 1.235e+04 mm"
    assert parse_spacing(target.text) == pytest.approx(target.size, rel=1e-8)
    assert (TargetSpacing(()).text, parse_spacing("none"), parse_spacing("auto")) == ("none", (), None)
    assert TargetSpacing.of(DataSpec(spacing=(2.0, 1.0), spacing_unit="µm")) == TargetSpacing((2.0, 1.0), "µm")


@pytest.mark.parametrize("text", ["", "5,0,1", "-1", "nan", "inf,1", "5x1", "median"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="must be auto, none, or numbers above 0"):
        parse_spacing(text)


@pytest.mark.parametrize(
    ("spacing", "unit", "dims", "expected"),
    [
        ((5, 1, 1), "mm", 3, (5, 1, 1)),
        ((5, 1, 1), "mm", 2, (1, 1)),
        ((5, 1, 1), "micrometer", 3, (5e-3, 1e-3, 1e-3)),
        ((5, 1, 1), "", 3, (5, 1, 1)),
        ((5, 1, 1), "furlong", 3, None),
        ((1, 1), "mm", 3, None),
        ((0, 1, 1), "mm", 3, None),
        ((math.nan, 1, 1), "mm", 3, None),
        (None, "mm", 2, None),
    ],
)
def test_the_pixel_size_of_a_file(spacing, unit, dims, expected):
    assert pixel_size(FileFacts(spacing=spacing, unit=unit), dims, "mm") == expected


def test_the_coarse_axis():
    assert coarse_axis((5, 1, 1)) == 0
    assert coarse_axis((1, 1, 3)) is None  # not more than threefold
    assert coarse_axis((5, 5, 1)) is None  # two such axes


def test_numbers_of_pixels():
    assert target_shape((20, 64, 64), (4.0, 0.9, 0.7), (2.5, 0.8, 0.8)) == (32, 72, 56)
    assert target_shape((10, 3), (1.0, 1.0), (1.04, 10.0)) == (10, 1)
    with pytest.raises(InputError, match="too large"):
        target_shape((10, 10), (1e12, 1.0), (1.0, 1.0))
