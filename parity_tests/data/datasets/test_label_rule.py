"""How label values become classes: decided once for a whole data set."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import IGNORED, label_rule, read_labels, to_class_indices
from unet_spec import InputError


def mask(*values, dtype=np.uint8):
    return np.resize(np.asarray(values, dtype), (4, 6))


def refused(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("raw", "kind", "expected", "classes"),
    [
        (mask(0, 255, 255), "auto", mask(0, 1, 1), 2),
        (mask(0, 1), "auto", mask(0, 1), 2),
        (mask(0, 1) > 0, "auto", mask(0, 1), 2),
        (mask(0), "auto", mask(0), 2),
        (mask(255), "auto", mask(1), 2),
        (mask(1), "auto", mask(1), 2),
        (mask(0, 255, dtype=np.uint16), "auto", mask(0, 1), 2),
        (mask(0, 1, 2), "auto", mask(0, 1, 2), 3),
        (mask(*range(24)), "auto", mask(*range(24)), 24),
        (mask(0, 1, 2, dtype=np.uint16), "auto", mask(0, 0, 1), 2),
        (mask(0, 7, 70000, dtype=np.int32), "auto", mask(0, 0, 1), 2),
        (mask(0, 1, 2, dtype=np.uint16), "semantic", mask(0, 1, 2), 3),
        (mask(0, 2, 5), "semantic", mask(0, 2, 5), 6),
        (mask(0, 255), "semantic", mask(0, 1), 2),
        (mask(0, 1, 2), "instance", mask(0, 0, 1), 2),
        (mask(0, 128, 255), "instance", mask(0, 0, 1), 2),
        (mask(0, 1, dtype=np.float32), "auto", mask(0, 1), 2),
        (mask(0, 255, dtype=np.float64), "auto", mask(0, 1), 2),
        (mask(0, 1, 2, dtype=np.float32), "auto", mask(0, 1, 2), 3),
        (mask(0, 300, dtype=np.float32), "auto", mask(0, 1), 2),
    ],
)
def test_the_table_of_rules(raw, kind, expected, classes):
    labels, found = to_class_indices(raw, "m.png", kind)
    assert labels.dtype == np.int32
    assert found == classes
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (mask(0, 128, 255), "auto", ("0, 128, 255", "--class-numbers 0,128,255")),
        (mask(0, 1, 2, 255), "auto", ("0, 1, 2, 255",)),
        (mask(1, 2), "auto", ("1, 2",)),
        (mask(0, 1, 2, 255), "semantic", ("255 is too large", "ignore")),
        (mask(0, -1, dtype=np.int16), "auto", ("-1, 0", "0 or larger", "if -1 marks pixels to ignore, write 255")),
        (mask(0, -1, dtype=np.int16), "instance", ("-1, 0",)),
        (
            mask(0, 2**31, dtype=np.uint32),
            "auto",
            ("2147483648 is too large", "at most 2147483647", "renumber the objects from 1"),
        ),
        (mask(0, 2**32, dtype=np.uint64), "instance", ("4294967296 is too large",)),
        (mask(0, 2**64 - 1, dtype=np.uint64), "semantic", ("18446744073709551615 is too large", "--ignore 1844")),
        (mask(0, 0.5, dtype=np.float32), "auto", ("float32", "0 to 0.5", "threshold")),
        (mask(0, np.nan, dtype=np.float32), "auto", ("float32",)),
        (mask(0, 1), "panoptic", ("auto, semantic, instance",)),
        (np.zeros((0, 3), np.uint8), "auto", ("(0, 3)",)),
    ],
)
def test_what_no_rule_covers_is_refused_with_its_values(raw, kind, words):
    message = refused(to_class_indices, raw, "folder/m.png", kind)
    for word in words:
        assert word in message


def test_grey_levels_of_a_jpeg_mask_are_explained():
    raw = np.arange(256, dtype=np.uint8).reshape(16, 16)
    message = refused(to_class_indices, raw, "m.jpg")
    assert "JPEG" in message
    assert "256 different" in message


def test_the_whole_data_set_decides():
    """Two files that alone look binary are class masks, or instances, once the third is seen."""
    raws = [mask(0, 1), mask(0), mask(0, 1, 2)]
    rule = label_rule(raws, ["a", "b", "c"])
    assert (rule.kind, rule.classes) == ("semantic", 3)
    wide = [raw.astype(np.uint16) for raw in raws]
    rule = label_rule(wide, ["a", "b", "c"])
    assert (rule.kind, rule.classes) == ("instance", 2)
    np.testing.assert_array_equal(rule.apply(wide[2]), mask(0, 0, 1))


def test_objects_that_touch_are_separated():
    numbers = np.array([[5, 5, 7, 0], [5, 7, 7, 9], [0, 3, 0, 9], [4, 0, 9, 9]], np.uint16)
    apart = np.array([[5, 0, 7, 0], [0, 0, 0, 9], [0, 3, 0, 9], [4, 0, 9, 9]])
    rule = label_rule([numbers], ["a"])
    np.testing.assert_array_equal(rule.numbers(numbers), apart)
    np.testing.assert_array_equal(rule.apply(numbers), apart > 0)
    volume = np.stack([numbers, np.where(numbers == 9, 8, numbers)])
    np.testing.assert_array_equal(rule.numbers(volume)[0], np.where(apart == 9, 0, apart))
    void = label_rule([numbers], ["a"], ignore=7)  # what is ignored touches nothing
    expected = np.array([[5, 5, 0, 0], [5, 0, 0, 9], [0, 3, 0, 9], [4, 0, 9, 9]])
    np.testing.assert_array_equal(void.numbers(numbers), expected)
    np.testing.assert_array_equal(void.apply(numbers), np.where(numbers == 7, IGNORED, expected > 0))


def test_mixed_binary_conventions_name_both_files():
    message = refused(label_rule, [mask(0), mask(0, 1), mask(0, 255)], ["a", "b", "c"])
    assert message.startswith("b: is a 0/1 mask but c is a 0/255 mask")


def test_the_result_is_a_copy():
    raw = np.array([[0, 1, 2]], np.int32)
    labels, _ = to_class_indices(raw, "m", "semantic")
    labels[:] = 0
    assert raw.tolist() == [[0, 1, 2]]


def test_grey_masks_stored_as_colour_are_read_and_colour_masks_refused(tmp_path):
    grey = np.repeat(mask(0, 255)[..., None], 3, axis=-1)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), mask(0, 255)[None])
    grey[0, 0] = (255, 0, 0)
    Image.fromarray(grey).save(tmp_path / "red.png")
    message = refused(read_labels, tmp_path / "red.png")
    assert "colour mask of 3 colours" in message
    assert "#ff0000" in message


def test_32_bit_instance_numbers_survive_reading(tmp_path):
    raw = np.array([[0, 2**24 + 1], [2**24, 7]], np.uint32)
    tifffile.imwrite(tmp_path / "m.tif", raw)
    np.testing.assert_array_equal(read_labels(tmp_path / "m.tif")[0], raw)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_the_largest_numbers_of_objects_stay_objects(dtype):
    raw = np.array([[0, 7, 0, 2**31 - 1, 2**32 - 1]], dtype)
    rule = label_rule([raw], ["m"], "auto", ignore=2**32 - 1)
    np.testing.assert_array_equal(rule.apply(raw), [[0, 1, 0, 1, IGNORED]])
    np.testing.assert_array_equal(rule.numbers(raw), [[0, 7, 0, 2**31 - 1, 0]])


def test_up_to_32_classes_are_taken_for_classes():
    def rule(count):
        return label_rule([np.arange(count, dtype=np.uint8)[None]], ["a.png"])

    assert (rule(32).kind, rule(32).classes) == ("semantic", 32)
    with pytest.raises(InputError, match="have no clear meaning"):
        rule(33)


def test_the_file_with_other_numbers_is_the_one_that_is_named():
    """Not a 0/1 mask beside it."""
    raws = [np.zeros((2, 2), np.uint8), np.array([[0, 1]], np.uint8), np.array([[0, 7]], np.uint8)]
    message = refused(label_rule, raws, ["empty", "mask", "odd"])
    assert message.startswith("odd: ")
