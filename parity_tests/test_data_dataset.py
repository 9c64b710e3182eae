"""Opening, checking and splitting data sets, on folders made here and on the real data where it is at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unet_data import Dataset, open_dataset, open_stored, split, write_stack
from unet_data.labels import separated
from unet_spec.errors import InputError

DATA = Path(os.environ.get("UNET_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def noise(*shape, seed=0, high=256):
    return np.random.default_rng(seed).integers(0, high, shape).astype(np.uint8)


def refused(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def png(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@pytest.fixture
def stacks(tmp_path):
    write_stack(tmp_path / "train-volume.tif", noise(6, 8, 9))
    write_stack(tmp_path / "train-labels.tif", noise(6, 8, 9, seed=1, high=2) * np.uint8(255))
    return tmp_path


@pytest.fixture
def pairs(tmp_path):
    for index, name in enumerate(["b", "a", "c"]):
        png(tmp_path / "images" / f"{name}.png", noise(8, 9 + index, 3, seed=index))
        png(tmp_path / "labels" / f"{name}.png", noise(8, 9 + index, seed=index, high=2))
    return tmp_path


def test_stacks_as_images(stacks):
    data = open_dataset(stacks)
    assert len(data) == 6
    assert data.names[0] == "train-volume-00"
    assert data.class_names == ("membrane", "cell")
    assert (data.channels, data.class_count, data.spatial_dims) == (1, 2, 2)
    np.testing.assert_array_equal(np.stack(data.images)[..., 0], noise(6, 8, 9))
    np.testing.assert_array_equal(np.stack(data.labels), noise(6, 8, 9, seed=1, high=2))
    assert data.labels[0].dtype == np.int32


def test_stacks_as_volumes(stacks):
    write_stack(stacks / "more-volume.tif", noise(2, 8, 9))
    write_stack(stacks / "more-labels.tif", noise(2, 8, 9) & np.uint8(0))
    data = open_dataset(stacks, spatial_dims=3)
    assert data.names == ("more-volume", "train-volume")
    assert [image.shape for image in data.images] == [(2, 8, 9, 1), (6, 8, 9, 1)]
    assert data.labels[1].shape == (6, 8, 9)
    assert data.spatial_dims == 3


def test_unlabelled_test_volume_is_left_out_but_no_other(stacks):
    write_stack(stacks / "test-volume.tif", noise(2, 8, 9))
    assert len(open_dataset(stacks)) == 6
    write_stack(stacks / "more-volume.tif", noise(2, 8, 9))
    assert "more-labels.tif" in refused(open_dataset, stacks)
    (stacks / "more-volume.tif").unlink()
    write_stack(stacks / "odd-labels.tif", noise(2, 8, 9))
    assert "odd-volume.tif" in refused(open_dataset, stacks)


def test_volumes_only_have_no_labels(stacks):
    (stacks / "train-labels.tif").unlink()
    data = open_dataset(stacks)
    assert data.labels is None
    assert (len(data), data.class_names) == (6, ())


def test_labels_without_any_volume(stacks):
    (stacks / "train-volume.tif").unlink()
    assert "train-volume.tif" in refused(open_dataset, stacks)


def test_pairs_by_stem_in_name_order(pairs):
    (pairs / "images" / "._a.png").write_bytes(b"macOS")
    (pairs / "images" / "notes.txt").write_text("no image")
    data = open_dataset(pairs)
    assert data.names == ("a", "b", "c")
    assert data.class_names == ("background", "foreground")
    for name, seed in (("a", 1), ("b", 0), ("c", 2)):
        index = data.names.index(name)
        np.testing.assert_array_equal(data.images[index], noise(8, 9 + seed, 3, seed=seed))
        np.testing.assert_array_equal(data.labels[index], noise(8, 9 + seed, seed=seed, high=2))


@pytest.mark.parametrize("ending", ["_mask", "-mask", "_label", "-label", "_masks"])
def test_label_endings_and_the_folder_masks(pairs, ending):
    for file in list((pairs / "labels").iterdir()):
        file.rename(file.with_name(file.stem + ending + ".png"))
    (pairs / "labels").rename(pairs / "masks")
    assert open_dataset(pairs).names == ("a", "b", "c")


def test_instance_labels_are_decided_once_for_the_folder(pairs):
    for seed, name in enumerate(["b", "a", "c"]):
        png(pairs / "labels" / f"{name}.png", noise(8, 9 + seed, high=2 + 40 * seed).astype(np.uint16))
    data = open_dataset(pairs)
    assert data.class_names == ("background", "foreground")
    assert "numbers of objects" in data.source
    np.testing.assert_array_equal(data.labels[2], separated(noise(8, 11, high=82)) > 0)
    semantic = open_dataset(pairs, kind="semantic")
    assert semantic.class_count == 82
    assert semantic.class_names[81] == "class 81"


def test_one_class_only_is_allowed(pairs):
    for file in (pairs / "labels").iterdir():
        png(file, np.zeros_like(np.asarray(Image.open(file))))
    assert open_dataset(pairs).class_count == 2


@pytest.mark.parametrize("opener", [open_dataset, open_stored])
def test_all_files_that_cannot_be_read_are_named_at_once(opener, pairs):
    (pairs / "images" / "a.png").write_bytes(b"no PNG")
    told = refused(opener, pairs)
    assert "a.png" in told
    assert "more cannot" not in told
    png(pairs / "labels" / "c.png", noise(8, 11, 3))  # a colour mask
    told = refused(opener, pairs)
    assert "images/a.png" in told
    assert told.endswith("; 1 more cannot be used either: c.png")


def test_multi_page_pairs_become_many_images(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        write_stack(tmp_path / folder / "s.tif", noise(12, 4, 5, high=2))
    data = open_dataset(tmp_path)
    assert data.names[::11] == ("s-00", "s-11")
    write_stack(tmp_path / "labels" / "s.tif", noise(11, 4, 5, high=2))
    message = refused(open_dataset, tmp_path)
    assert "12x4x5" in message
    assert "11x4x5" in message


def test_images_only_and_single_files(tmp_path):
    png(tmp_path / "b.png", noise(4, 5))
    png(tmp_path / "a.png", noise(6, 7))
    data = open_dataset(tmp_path)
    assert (data.labels, data.names) == (None, ("a", "b"))
    assert open_dataset(tmp_path / "a.png").names == ("a",)
    write_stack(tmp_path / "s.tif", noise(3, 4, 5))
    assert open_dataset(tmp_path / "s.tif").names == ("s-00", "s-01", "s-02")
    assert open_dataset(tmp_path / "s.tif", spatial_dims=3).images[0].shape == (3, 4, 5, 1)
    png(tmp_path / "images" / "x.png", noise(4, 5))
    assert open_dataset(tmp_path).names == ("x",)


def test_folders_that_cannot_be_opened(tmp_path):
    assert "no such file or folder" in refused(open_dataset, tmp_path / "none")
    assert "it is empty" in refused(open_dataset, tmp_path)
    (tmp_path / "readme.md").touch()
    message = refused(open_dataset, tmp_path)
    assert "readme.md" in message
    assert "images/" in message
    assert "spatial_dims" in refused(open_dataset, tmp_path, spatial_dims=4)
    (tmp_path / "images").mkdir()
    assert str(tmp_path / "images") in refused(open_dataset, tmp_path)
    (tmp_path / "images" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    assert "a.png" in refused(open_dataset, tmp_path)


def test_missing_partners_are_named(pairs):
    (pairs / "labels" / "b.png").unlink()
    message = refused(open_dataset, pairs)
    assert str(pairs / "images" / "b.png") in message
    assert "labels/b.png" in message
    (pairs / "labels" / "c.png").unlink()
    assert "1 more" in refused(open_dataset, pairs)
    png(pairs / "labels" / "x_mask.png", noise(4, 4))
    assert "x_mask.png: has no image; expected images/x.png" in refused(open_dataset, pairs)


def test_doubtful_folders_are_refused(pairs):
    png(pairs / "labels" / "a_mask.png", noise(8, 10, high=2))
    assert "second label" in refused(open_dataset, pairs)
    (pairs / "labels" / "a_mask.png").unlink()
    png(pairs / "images" / "a.tif", noise(8, 10, 3))
    message = refused(open_dataset, pairs)
    assert "a.png and a.tif" in message
    (pairs / "images" / "a.tif").unlink()
    (pairs / "masks").mkdir()
    assert "both labels/ and masks/" in refused(open_dataset, pairs)
    flat = pairs / "flat"
    png(flat / "x.png", noise(4, 4))
    png(flat / "x_mask.png", noise(4, 4))
    assert "label among the images" in refused(open_dataset, flat)


def test_sizes_channels_and_dtypes_must_match(pairs):
    png(pairs / "labels" / "a.png", noise(7, 5, high=2))
    message = refused(open_dataset, pairs)
    assert "8x10" in message
    assert "7x5" in message
    png(pairs / "labels" / "a.png", noise(8, 10, high=2))
    png(pairs / "images" / "c.png", noise(8, 11))
    message = refused(open_dataset, pairs)
    assert "image c has 1 channel(s) but a has 3" in message
    for name in "abc":
        width = np.asarray(Image.open(pairs / "labels" / f"{name}.png")).shape[1]
        png(pairs / "images" / f"{name}.png", noise(8, width).astype(np.uint16 if name == "b" else np.uint8))
    assert "image b is uint16 but a is uint8" in refused(open_dataset, pairs)


def test_a_dataset_checks_itself():
    image, label = noise(4, 5, 1), np.zeros((4, 5), np.int32)

    def build(images=(image,), labels=(label,), names=("a",), classes=("x", "y")):
        return Dataset(images, labels, names, classes, "here")

    assert len(build()) == 1
    assert "at least one" in refused(build, images=(), names=())
    assert "2 names" in refused(build, names=("a", "b"))
    assert "(4, 5)" in refused(build, images=(image[..., 0],))
    assert "int64" in refused(build, images=(image.astype(np.int64),))
    assert "0 labels" in refused(build, labels=())
    assert "4x5 but its label is 5x4" in refused(build, labels=(label.T,))
    assert "values 2..2" in refused(build, labels=(label + 2,))
    assert "int64" in refused(build, labels=(label.astype(np.int64),))
    assert "float" in refused(build, labels=(label.astype(np.float32),))


def many(count, spatial_dims=2):
    images = tuple(np.full((3,) * spatial_dims + (1,), i, np.uint8) for i in range(count))
    labels = tuple(np.zeros((3,) * spatial_dims, np.int32) for _ in range(count))
    return Dataset(images, labels, tuple(map(str, range(count))), ("x", "y"), "here")


def test_subset_keeps_order_and_pairs():
    data = many(5)
    part = data.subset([3, 1])
    assert part.names == ("3", "1")
    assert part.images[0] is data.images[3]
    assert part.labels[1] is data.labels[1]
    assert "index 5 is out of range" in refused(data.subset, [5])
    assert "index -1" in refused(data.subset, [-1])
    assert "no index" in refused(data.subset, [])


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


def real(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"no real data: {DATA / name} is missing (set UNET_DATA to the folder that holds {name})")
    return DATA / name


def test_real_isbi_stack():
    data = open_dataset(real("isbi2012"))
    assert len(data) == 24
    assert data.class_names == ("membrane", "cell")
    assert {image.shape for image in data.images} == {(512, 512, 1)}
    assert 0.2 < 1 - np.mean([label.mean() for label in data.labels]) < 0.25
    train, validation = split(data)
    assert (len(train), len(validation)) == (20, 4)
    assert validation.names[0] == "train-volume-20"
    # Membrane is dark: the convention is not inside out.
    assert data.images[0][..., 0][data.labels[0] == 0].mean() + 30 < data.images[0][..., 0][data.labels[0] == 1].mean()


def test_real_nuclei():
    data = open_dataset(real("dsb2018"))
    assert len(data) == 120
    assert data.class_names == ("background", "foreground")
    assert data.channels == 3
    assert 0.02 < np.mean([label.mean() for label in data.labels]) < 0.5
