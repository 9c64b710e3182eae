"""What `unet train` and `unet evaluate` tell: how the labels were read, what cannot come of a run, what a run that went
on is, and which score is whose."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unet_data import ReadSettings, open_dataset, open_pictures, open_stored, split, write_stack
from unet_data.datasets.label_rule import separated
from unet_spec import InputError

from ... import ROOT
from .folders import noise, png, refused


def folder_of(path, dtype, values, count=6):
    """images/ and labels/ whose masks hold these values."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (path / kind).mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 40)).astype(np.uint8)).save(path / "images" / f"{number}.png")
        label = np.array(values)[rng.integers(0, len(values), (40, 40))].astype(dtype)
        Image.fromarray(label).save(path / "labels" / f"{number}.png")
    return path


def test_a_folder_is_named_as_it_was_asked_for(tmp_path):
    data = folder_of(tmp_path / "data", np.uint8, (0, 255))
    assert open_dataset(data).source == str(data)


DATA = Path(os.environ.get("UNET_DATA", ROOT / "data"))


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


def test_several_volumes_in_an_array_are_as_many_images(tmp_path):
    """As in a prediction; in a (D, N, H, W) array too, if the axes are named."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 255, (2, 3, 8, 9), np.uint8), rng.integers(0, 2, (2, 3, 8, 9), np.uint8)
    for name, order in (("tzyx", (0, 1, 2, 3)), ("ztyx", (1, 0, 2, 3))):
        for kind, array in (("images", images), ("labels", labels)):
            (tmp_path / name / kind).mkdir(parents=True)
            np.save(tmp_path / name / kind / "a.npy", array.transpose(order))
        for read in (open_dataset, open_stored):
            data = read(tmp_path / name, spatial_dims=3, settings=ReadSettings(axes=name.upper()))
            for number in range(2):
                np.testing.assert_array_equal(np.asarray(data.images[number])[..., 0], images[number])
                np.testing.assert_array_equal(np.asarray(data.labels[number]), labels[number])


def test_volumes_only_have_no_labels(stacks):
    (stacks / "train-labels.tif").unlink()
    data = open_dataset(stacks)
    assert data.labels is None
    assert (len(data), data.class_names) == (6, ())


def test_labels_without_any_volume(stacks):
    (stacks / "train-volume.tif").unlink()
    assert "train-volume.tif" in refused(open_dataset, stacks)


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
    printed = refused(opener, pairs)
    assert "a.png" in printed
    assert "more cannot" not in printed
    png(pairs / "labels" / "c.png", noise(8, 11, 3))  # a colour mask
    printed = refused(opener, pairs)
    assert "images/a.png" in printed
    assert printed.endswith("; 1 more cannot be used: c.png")


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


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_pages_that_may_be_channels_get_the_option_that_reads_them_so(opened, tmp_path):
    for folder, shape in (("images", (3, 8, 9)), ("labels", (1, 8, 9))):
        (tmp_path / folder).mkdir()
        write_stack(tmp_path / folder / "a.tif", noise(*shape, high=2))
    assert refused(opened, tmp_path).endswith("if its pages are channels, pass --axes CYX")
    assert opened(tmp_path, settings=ReadSettings(axes="CYX")).channels == 3


def test_a_palette_that_colours_grey_images_is_named(tmp_path):
    for name in "ab":
        png(tmp_path / "images" / f"{name}.png", noise(8, 9))
        png(tmp_path / "labels" / f"{name}.png", noise(8, 9, high=2))
    with Image.open(tmp_path / "images" / "b.png") as image:
        image.load()
        image.putpalette([value for grey in range(256) for value in (0, grey, 0)])
        image.save(tmp_path / "images" / "b.png")
    assert "image b has 3 channel(s) but a has 1; --palette index" in refused(open_dataset, tmp_path)
    assert open_dataset(tmp_path, settings=ReadSettings(palette="index")).channels == 1
    with pytest.raises(InputError, match="takes 1; --palette index, if its palette only colours a grey image"):
        open_pictures(tmp_path / "images" / "b.png", 2, 1)


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
