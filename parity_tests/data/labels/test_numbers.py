"""Lists of class numbers, and what they make of labels: background that is not 0, labels from 1, many classes."""

import numpy as np
import pytest

from unet_data import IGNORED, label_rule
from unet_data.labels.numbers import LARGEST, MAX_CLASSES, as_numbers, one_number, parse_numbers, whole_numbers

from ..io.helpers import refused


def test_lists_and_ranges():
    assert parse_numbers("1-3, 7 9") == (1, 2, 3, 7, 9)
    assert parse_numbers("") == ()
    for text, words in (("1,x", "'x' is neither a number"), ("3-1", "range 3-1"), ("1,1-2", "each number only once")):
        assert words in refused(parse_numbers, text)
    assert "too large" in refused(parse_numbers, "0-9999999999")


def test_bits_stand_for_what_the_other_files_hold():
    bits = np.array([False, True])
    assert as_numbers(bits, (0, 1)).tolist() == [0, 1]
    assert as_numbers(bits, (255, 0)).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("raw", "listed", "expected"),
    [
        ([1, 2, 3], "1-3", [0, 1, 2]),
        ([0, 255], "255,0", [1, 0]),
        ([7, 0, 33, 7], "0,7,33", [1, 0, 2, 1]),
        ([255, 5, 4, 5], "5 4", [IGNORED, 0, 1, 0]),
    ],
)
def test_each_listed_number_becomes_its_place(raw, listed, expected):
    raw = np.array(raw, np.uint8)
    ignore = 255 if IGNORED in expected else None
    rule = label_rule([raw], ["m"], ignore=ignore, class_numbers=listed)
    assert rule.apply(raw).tolist() == expected
    assert rule.apply(raw).dtype == np.int32
    assert rule.classes == len(parse_numbers(listed))


def test_more_than_256_classes_are_classes_where_they_are_said_to_be():
    raw = np.arange(300, dtype=np.uint16)
    rule = label_rule([raw], ["m"], "semantic")
    assert (rule.classes, rule.apply(raw)[299]) == (300, 299)
    some = raw[::2]
    assert "--class-numbers 0-298" in refused(label_rule, [some], ["m"], "semantic")
    rule = label_rule([some], ["m"], "semantic", class_numbers="0-299")
    assert (rule.classes, rule.apply(some)[100]) == (300, 200)


def test_the_background_of_objects_can_be_any_number():
    raw = np.array([[9, 9, 0, 9, 3]], np.uint16)
    rule = label_rule([raw], ["m"], "instance", class_numbers="9")
    assert rule.apply(raw).tolist() == [[0, 0, 1, 0, 1]]
    assert len(np.unique(rule.numbers(raw))) == 3


def test_numbers_that_are_not_listed_are_refused_with_their_file():
    raws = [np.array([1, 2], np.uint8), np.array([1, 9], np.uint8)]
    assert refused(label_rule, raws, ["a", "b"], "auto", None, "1,2").startswith("b: contains 9, which")
    assert "which is also the number to ignore" in refused(label_rule, raws, ["a", "b"], "auto", 9, "1,2,9")
    assert "background first" in refused(label_rule, raws, ["a", "b"], "auto", None, "1")


@pytest.mark.parametrize(("count", "more"), [(4, ""), (5, ", ...")])
def test_a_colour_mask_names_up_to_four_colours(count, more):
    raw = np.array([[n, 0, 255] for n in range(count)], np.uint8)
    some = ", ".join(f"#{n:02x}00ff" for n in range(4))
    message = refused(one_number, raw, "a.png")
    assert (
        f"a.png: is a colour mask of {count} colours ({some}{more}); list them by --class-colors (#0000ff,…)" in message
    )
    wide = refused(one_number, raw.astype(np.uint16), "a.png")
    assert "(0, 0, 255)" in wide
    assert "--class-colors" not in wide


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0.0, 255.0], np.uint8), ([0.0, 256.0], np.int32), ([-1.0, 3.0], np.int32), ([2.0**31 - 1], np.int32)],
)
def test_whole_floats_become_integers(values, dtype):
    found = whole_numbers(np.array(values), "a")
    assert (found.tolist(), found.dtype) == (values, dtype)
    for wrong in (np.nan, np.inf):
        message = refused(whole_numbers, np.array([[wrong, 1.0]]), "a")
        assert "NaN or infinity in 1 pixels; write a whole number there" in message
        assert "--ignore" in message
    for wrong in (2.0**31, -(2.0**31), 0.5):
        assert "that are not all whole numbers" in refused(whole_numbers, np.array([wrong]), "a")
    for wrong in (np.zeros(0), np.array(["a"])):
        assert "cannot be used; give integers" in refused(whole_numbers, wrong, "a")


def test_lists_are_bounded():
    assert (LARGEST, MAX_CLASSES) == (2**31 - 1, 2**16)
    assert len(parse_numbers("1-65536")) == 65536
    assert parse_numbers("2147483647") == (2**31 - 1,)
    for text in ("0-65536", "3-2", "2147483648"):
        assert f"the range {text} is empty or too large" in refused(parse_numbers, text)
    for text in ("0-65535,70000", "1,1", "1-3,3"):
        assert "list each number only once, and at most 65536" in refused(parse_numbers, text)
    assert parse_numbers("4-4, 2") == (4, 2)
