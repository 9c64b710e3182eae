"""The border class: where it lies, and what it needs."""

from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, with_border
from unet_data.datasets.label_rule import IGNORED
from unet_spec import InputError


def dataset(cells, label=None, ignore=None):
    label = (cells > 0).astype(np.int32) if label is None else label
    image = np.zeros((*cells.shape, 1), np.uint8)
    return Dataset((image,), (label,), ("a",), ("background", "cell"), "example", instances=(cells,), ignore=ignore)


@pytest.mark.parametrize(
    ("cells", "width", "expected"),
    [
        ("11112222", 2, "11222211"),
        ("11112222", 1, "11122111"),
        ("11100222", 2, "11122111"),
        ("1110000222", 2, "1110000111"),  # a gap that is too wide
        ("1110222", 2, "1122211"),  # a gap of one pixel is border; each rim lies 2 pixels from the other object
        ("11100000", 2, "11100000"),
    ],
)
def test_where_two_objects_are_near(cells, width, expected):
    numbers = np.array([[int(c) for c in cells]])
    got = "".join(map(str, with_border(dataset(numbers), width).labels[0][0]))
    assert got == expected


def test_it_names_its_classes_and_keeps_what_is_ignored():
    cells = np.array([[1, 1, 2, 2]])
    label = np.array([[1, IGNORED, 1, 1]], np.int32)
    got = with_border(dataset(cells, label, 255))
    assert got.class_names == ("background", "object", "border")
    assert got.labels[0].tolist() == [[2, IGNORED, 2, 2]]
    assert "(2 pixels wide)" in got.source
    np.testing.assert_array_equal(got.instances[0], cells)


def test_labels_without_objects_are_refused():
    with pytest.raises(InputError, match="give each object its own number"):
        with_border(replace(dataset(np.array([[1, 0]])), instances=None))
