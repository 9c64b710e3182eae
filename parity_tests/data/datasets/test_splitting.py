"""Which images validate: the last block, unless it lacks a class; groups stay together; shares, folds and lists."""

from dataclasses import replace

import numpy as np
import pytest

from unet_data import Dataset, open_dataset, read_labels, split, with_border, write_stack
from unet_data.datasets.splitting import divide
from unet_data.datasets.splitting import parts as parts_module
from unet_data.datasets.splitting.parts import check_validate
from unet_spec import InputError

from .folders import noise, refused


def many(count, spatial_dims=2):
    images = tuple(np.full((3,) * spatial_dims + (1,), i, np.uint8) for i in range(count))
    labels = tuple(np.zeros((3,) * spatial_dims, np.int32) for _ in range(count))
    return Dataset(images, labels, tuple(map(str, range(count))), ("x", "y"), "here")


def named(classes):
    """Images by name; of each, the class that one of its pixels has beside class 0."""
    labels = []
    for index in classes.values():
        labels.append(np.zeros((3, 3), np.int32))
        labels[-1][1, 1] = index
    images = tuple(np.full((3, 3, 1), i, np.uint8) for i in range(len(classes)))
    names = tuple(map(str, range(max(classes.values()) + 1)))
    return Dataset(images, tuple(labels), tuple(classes), names, "here")


@pytest.mark.parametrize(
    ("count", "fraction", "held"), [(24, None, 4), (2, 0.01, 1), (2, 0.99, 1), (10, 0.2, 2), (3, 0.5, 2)]
)
def test_the_last_block_is_for_validation(count, fraction, held):
    train, validation = split(many(count)) if fraction is None else split(many(count), fraction)
    assert train.names == tuple(map(str, range(count - held)))
    assert validation.names == tuple(map(str, range(count - held, count)))


def test_one_volume_is_split_along_its_depth():
    volume, label = noise(12, 4, 5, 1), noise(12, 4, 5, high=2).astype(np.int32)
    train, validation = split(Dataset((volume,), (label,), ("v",), ("x", "y"), "here"))
    np.testing.assert_array_equal(train.images[0], volume[:10])
    np.testing.assert_array_equal(validation.images[0], volume[10:])
    np.testing.assert_array_equal(validation.labels[0], label[10:])
    assert split(many(3, spatial_dims=3))[1].names == ("2",)


def test_splits_that_leave_a_side_empty_are_refused():
    assert "1 image" in refused(split, many(1))
    for fraction in (0, 1, -0.5, float("nan")):
        assert "between 0 and 1" in refused(split, many(4), fraction)
    flat = Dataset((noise(1, 4, 4, 1),), None, ("v",), (), "here")
    assert "1 plane" in refused(split, flat)


DIAGNOSES = {f"{kind} ({i})": int(kind != "normal") for kind, n in (("benign", 5), ("malignant", 5), ("normal", 2))
             for i in range(n)}  # fmt: skip


def test_every_class_is_on_both_sides_where_the_last_block_lacks_one():
    parts = divide(named(DIAGNOSES))
    for part in parts[:2]:
        assert set(np.unique(part.labels)) == {0, 1}
    assert len(parts.validation) == 2
    assert "training and validation both have every class" in parts.how
    assert divide(named(DIAGNOSES), "last").validation.names == ("normal (0)", "normal (1)")


def test_a_class_of_one_image_is_trained_on_and_named():
    names = {f"i{i}": 0 for i in range(11)} | {"last": 1}
    parts = divide(named(names))
    assert "last" in parts.training.names
    assert "too few images or groups have 1" in parts.how


PATIENTS = {f"patient{p}_slice{s}": int(s == 1) for p in range(5) for s in range(3)}


@pytest.mark.parametrize("pattern", [None, r"patient\d+", r"patient(\d+)"])
def test_groups_stay_together(pattern):
    parts = divide(named(PATIENTS), group=pattern)
    assert parts.validation.names == tuple(f"patient4_slice{s}" for s in range(3))
    assert "5 groups" in parts.how
    share = divide(named(PATIENTS), 0.4, group=r"patient\d+")
    assert {name[7] for name in share.validation.names} == {"3", "4"}
    assert {name[7] for name in share.training.names} == {"0", "1", "2"}


def test_a_share_without_a_pattern_is_of_images():
    assert len(divide(named(PATIENTS), 0.4).validation) == 6
    assert "together" not in divide(named(PATIENTS), 0.4).how


def test_names_that_are_no_groups_do_not_hold_back_most_of_the_data():
    names = {f"2021_{i}": 0 for i in range(3)} | {f"2022_{i}": 0 for i in range(20)}
    assert len(divide(named(names)).validation) == 4


def test_folds_cover_the_data_once():
    held = [split(named(PATIENTS), f"{i}/5", r"patient\d+")[1].names for i in range(1, 6)]
    assert sorted(name for names in held for name in names) == sorted(PATIENTS)
    assert all(len({name.split("_")[0] for name in names}) == 1 for names in held)
    assert [len(split(many(7), f"{i}/3")[1]) for i in (1, 2, 3)] == [2, 2, 3]


def test_a_list_names_the_images(tmp_path):
    listed = tmp_path / "validation.txt"
    listed.write_text("# chosen by hand\npatient1_slice0.png\n\nimages/patient3_slice2.tif\n")
    parts = divide(named(PATIENTS), str(listed))
    assert parts.validation.names == ("patient1_slice0", "patient3_slice2")
    assert len(parts.training) == 13
    assert "splits the group" in refused(divide, named(PATIENTS), str(listed), r"patient\d+")
    listed.write_text("patient9\n")
    assert "'patient9' is not an image of here" in refused(split, named(PATIENTS), str(listed))
    listed.write_text("\n".join(PATIENTS))
    assert "leaves no image for training" in refused(split, named(PATIENTS), str(listed))


def test_a_stack_can_be_listed_by_its_name(tmp_path):
    listed = tmp_path / "validation.txt"
    listed.write_text("b.tif\n")
    names = dict.fromkeys([f"a-{i:02d}" for i in range(4)] + [f"b-{i:02d}" for i in range(3)], 0)
    assert divide(named(names), str(listed)).validation.names == ("b-00", "b-01", "b-02")


def test_the_first_planes_of_a_volume_validate_where_the_last_ones_lack_a_class():
    label = np.zeros((12, 4, 5), np.int32)
    label[:9, 0] = 1
    volume = Dataset((noise(12, 4, 5, 1),), (label,), ("v",), ("x", "y"), "here")
    parts = divide(volume)
    assert "the first 2 of 12 planes" in parts.how
    np.testing.assert_array_equal(parts.validation.images[0], volume.images[0][:2])
    np.testing.assert_array_equal(parts.training.labels[0], label[2:])
    assert "the last 2" in divide(volume, "last").how


@pytest.mark.parametrize(
    ("validate", "group", "words"),
    [
        ("6/5", None, "6/5 is not a fold"),
        ("1/99", None, "from 2 to 15"),
        ("nothing.txt", None, "give auto, last, a share"),
        ("auto", "(", "not a regular expression"),
        ("auto", "slide", "does not match the name 'patient0_slice0'"),
        ("auto", "patient", "finds only one group, 'patient'"),
        ("last", "patient.", "give a share or a fold"),
    ],
)
def test_what_does_not_fit_is_refused(validate, group, words):
    names = PATIENTS if group != "slide" else {"patient0_slice0".replace("slice", "part"): 0, **PATIENTS}
    assert words.replace("slice", "part" if group == "slide" else "slice") in refused(
        split, named(names), validate, group
    )


def test_another_folder_validates_and_its_labels_mean_the_same(tmp_path):
    """One that shows two of three classes is read as class indices, not as a binary mask."""
    for part, high in (("a", 3), ("b", 2)):
        for kind in ("images", "labels"):
            (tmp_path / part / kind).mkdir(parents=True)
        write_stack(tmp_path / part / "images" / "x.png", noise(1, 8, 9))
        write_stack(tmp_path / part / "labels" / "x.png", noise(1, 8, 9, high=high))
    training = open_dataset(tmp_path / "a")
    parts = divide(training, str(tmp_path / "b"))
    assert parts.training is training
    assert parts.validation.class_names == training.class_names
    np.testing.assert_array_equal(parts.validation.labels[0], read_labels(tmp_path / "b" / "labels" / "x.png")[0])
    assert "3 classes, the training data have 2" in refused(divide, open_dataset(tmp_path / "b"), str(tmp_path / "a"))


def test_another_folder_validates_with_the_border_class(tmp_path):
    numbers = np.zeros((1, 12, 14), np.uint16)
    numbers[0, 2:8, 2:6], numbers[0, 2:8, 6:11] = 1, 2
    for part in ("a", "b"):
        for kind in ("images", "labels"):
            (tmp_path / part / kind).mkdir(parents=True)
        write_stack(tmp_path / part / "images" / "x.tif", noise(1, 12, 14))
        write_stack(tmp_path / part / "labels" / "x.tif", numbers)
    training = with_border(open_dataset(tmp_path / "a", kind="instance"))
    validation = divide(training, str(tmp_path / "b")).validation
    assert validation.class_names == training.class_names
    np.testing.assert_array_equal(validation.labels[0], training.labels[0])
    assert (validation.labels[0] == 2).any()


def test_a_single_large_image_is_split_by_rows(monkeypatch):
    label = np.ones((1200, 1000), np.int32)
    label[0] = 0
    image = Dataset((noise(1200, 1000, 1),), (label,), ("i",), ("x", "y"), "here")
    parts = divide(image, "last")
    assert "the last 200 of 1200 rows of i" in parts.how
    assert [d.images[0].shape[0] for d in parts[:2]] == [1000, 200]
    assert "the last 480 of 1200 rows" in divide(image, "0.4").how
    monkeypatch.setattr("unet_data.datasets.splitting.parts.MOST_VALIDATED", 50_000)
    assert "the last 50 of 1200 rows" in divide(image).how
    assert "the last 480 of 1200 rows" in divide(image, "0.4").how
    assert "split along its height: give a share" in refused(split, image, "1/5")
    assert "has 1 image" in refused(split, replace(image, images=(image.images[0][:999],), labels=(label[:999],)))


@pytest.mark.parametrize("text", ["1/2", "5/5", "0.01", "0.99", "auto", "last", "names.txt"])
def test_parts_that_may_be_named(text):
    check_validate(text, None)
    check_validate(text, r"(.*)_\d+")


@pytest.mark.parametrize(
    ("text", "group", "words"),
    [
        ("0/5", None, "validate is 0/5; a fold is i/n with i from 1 to n"),
        ("6/5", None, "validate is 6/5; a fold is i/n"),
        ("1/1", None, "and n of 2 or more"),
        ("2024/06", None, "validate is 2024/06; a fold is i/n"),
        ("0", None, "validate is 0; a share lies between 0 and 1"),
        ("1.0", None, "validate is 1.0; a share lies between 0 and 1"),
        ("-0.2", None, "a share lies between 0 and 1"),
        ("auto", "(", "it must be a regular expression"),
    ],
)
def test_parts_that_cannot_be_are_refused_before_anything_is_read(text, group, words):
    with pytest.raises(InputError, match=words):
        check_validate(text, group)


def test_the_folders_of_the_files_decide():
    data = replace(named(PATIENTS), parts=("training",) * 6 + ("validation",) * 5 + ("training",) * 4)
    parts = divide(data)
    assert parts.validation.names == tuple(PATIENTS)[6:11]
    assert parts.how.startswith("validation: 5 of 15 images, by their folders (patient2_slice0 … patient3_slice1)")
    one = replace(named(PATIENTS), parts=("training",) * 15)
    assert "by their folders" not in divide(one).how
    assert "by their folders" not in divide(data, "0.2").how


@pytest.mark.parametrize(("validate", "how"), [
    ("last", "validation: 4 of 24 images, the last sixth (20, 21, 22, 23)"),
    ("0.25", "validation: 6 of 24 images, the last 25% (18 … 23)"),
    ("2/4", "validation: 6 of 24 images, fold 2 of 4 (6 … 11)"),
])  # fmt: skip
def test_the_division_is_described(validate, how):
    assert divide(many(24), validate).how == how


def test_a_single_volume_of_two_planes_is_divided():
    volume = Dataset((noise(2, 4, 4, 1),), None, ("v",), (), "here")
    train, validation = divide(volume)[:2]
    assert (train.names, validation.names) == (("v-train",), ("v-validation",))
    assert [len(part.images[0]) for part in (train, validation)] == [1, 1]
    half = Dataset((noise(12, 4, 4, 1),), None, ("v",), (), "here")
    assert "the last 6 of 12 planes of v" in divide(half, "0.5").how
    assert "the last 11 of 12 planes" in divide(half, "0.99").how
    for text in ("1/2", "names.txt"):
        assert "a single volume is split along its depth: give a share to --validate" in refused(divide, half, text)
    assert "must lie between 0 and 1, not 1.0" in refused(divide, half, "1")


def test_a_single_image_is_large_from_a_megapixel_on():
    assert parts_module.MOST_VALIDATED == 2**24
    image = Dataset((np.zeros((1024, 1024, 1), np.uint8),), None, ("i",), (), "here")
    assert "rows of i" in divide(image).how
    assert "has 1 image" in refused(split, replace(image, images=(image.images[0][:1023],)))
