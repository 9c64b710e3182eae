"""Masks of classes that overlap, in one number a pixel."""

import numpy as np
import pytest

from unet_data import pack_masks, unpack_masks
from unet_data.labels.masks import MAX_MASKS, one_mask, parse_regions, regions_of, topmost

from ..io.helpers import refused

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("classes", [1, 3, MAX_MASKS])
def test_masks_come_back(classes):
    masks = RNG.integers(0, 2, (5, 6, classes)).astype(np.int8)
    masks[2, 3] = -1
    packed = pack_masks(masks)
    assert packed.dtype == np.int32
    assert packed.astype(np.float32).astype(np.int32).tolist() == packed.tolist()  # as warps on accelerators hold them
    np.testing.assert_array_equal(unpack_masks(packed, classes), masks)


def test_more_classes_than_a_number_holds_are_refused():
    assert "at most 24" in refused(pack_masks, np.zeros((2, MAX_MASKS + 1)))


def test_the_last_class_of_a_pixel_is_shown():
    assert topmost(np.array([0, 1, 2, 3, 5, 2**23, -1])).tolist() == [0, 1, 2, 2, 3, 24, -1]


def test_the_mask_of_one_class_holds_one_number():
    assert one_mask(np.array([0, 255, 7], np.uint8), "m.png", 7).tolist() == [0, 1, -1]
    assert one_mask(np.array([False, True]), "m.png", None).tolist() == [0, 1]
    message = refused(one_mask, np.array([0, 1, 2], np.uint8), "m.png", None)
    assert "m.png: holds 0, 1, 2" in message
    assert "--class-numbers" in message


def test_regions_are_names_with_numbers():
    regions = parse_regions("whole tumour = 1-3; 2,3")
    assert regions == (("whole tumour", (1, 2, 3)), ("class 1", (2, 3)))
    raw = np.array([[0, 1, 2], [3, 9, 0]], np.uint8)
    packed = regions_of(raw, "m", regions, 9)
    assert packed.tolist() == [[0, 1, 3], [3, -1, 0]]
    assert "contains 9, which the class numbers do not list" in refused(regions_of, raw, "m", regions, None)
    for text, words in (
        ("a=1;a=2", "each name only once"),
        ("a=", "is not a class"),
        ("a=x", "neither a number"),
        ("=", "not a class"),
    ):
        assert words in refused(parse_regions, text)
