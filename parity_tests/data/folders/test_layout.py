"""Which files of a folder belong together, and folders that leave doubt."""

import unicodedata

import numpy as np
import pytest

from unet_data import open_dataset, open_stored, split

from ..datasets.folders import noise, png, refused


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


@pytest.mark.parametrize("ending", ["_mask", "-mask", "_label", "-label", "_masks", "_cp_masks"])
def test_label_endings_and_the_folder_masks(pairs, ending):
    for file in list((pairs / "labels").iterdir()):
        file.rename(file.with_name(file.stem + ending + ".png"))
    (pairs / "labels").rename(pairs / "masks")
    assert open_dataset(pairs).names == ("a", "b", "c")


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
    (pairs / "labels" / "x_mask.png").unlink()
    png(pairs / "labels" / "a_left.png", noise(4, 4))
    assert "mask of class left, pass --labels overlapping" in refused(open_dataset, pairs)
    (pairs / "labels" / "a_left.png").rename(pairs / "labels" / "a_007.png")  # a frame of a movie, or an object
    assert "--labels overlapping" not in refused(open_dataset, pairs)


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


def test_labels_beside_their_images(tmp_path):
    for name in ("a", "b"):
        png(tmp_path / "p1" / f"{name}.png", noise(4, 5))
        png(tmp_path / "p1" / f"{name}_mask.png", noise(4, 5, high=2))
    data = open_dataset(tmp_path)
    assert (data.names, len(data.labels)) == (("p1-a", "p1-b"), 2)
    (tmp_path / "p1" / "b_mask.png").unlink()
    assert "p1/b.png: has no label" in refused(open_dataset, tmp_path)


def lay(root, images, labels, count=3, ending="", kind="png"):
    """Images a, b, … of seeds 0, 1, … and their labels."""
    for i in range(count):
        png(root / images / f"{'abcdef'[i]}.{kind}", noise(6, 7, seed=i))
        png(root / labels / f"{'abcdef'[i]}{ending}.png", noise(6, 7, seed=i, high=2))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("image", "label"),
        ("img", "mask"),
        ("imgs", "annotations"),
        ("Images", "Labels"),
        ("imagesTr", "labelsTr"),
        ("JPEGImages", "SegmentationClass"),
        ("x", "x_masks"),
    ],
)
def test_other_spellings_of_the_folders(tmp_path, images, labels):
    lay(tmp_path, images, labels)
    data = open_dataset(tmp_path)
    assert len(data) == len(data.labels) == 3
    for i in range(3):
        np.testing.assert_array_equal(data.images[i][..., 0], noise(6, 7, seed=i))
        np.testing.assert_array_equal(data.labels[i], noise(6, 7, seed=i, high=2))
    assert [e.status for e in data.entries] == ["paired"] * 6


def test_images_of_voc_without_a_mask_are_left_out(tmp_path):
    lay(tmp_path, "JPEGImages", "SegmentationClass")
    png(tmp_path / "JPEGImages" / "z.png", noise(6, 7))
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").touch()
    data = open_dataset(tmp_path)
    assert len(data) == 3
    out = {e.path.name: e.reason for e in data.entries if e.status == "left out"}
    assert out == {"z.png": "no label in SegmentationClass/", "Annotations": "outside the folders of the data set"}


def test_the_cell_tracking_challenge_and_one_mask_an_object(tmp_path):
    for t in range(3):
        png(tmp_path / "ctc" / "01" / f"t{t:03d}.tif", noise(6, 7, seed=t))
    png(tmp_path / "ctc" / "01_GT" / "SEG" / "man_seg001.tif", noise(6, 7, seed=1, high=2))
    data = open_dataset(tmp_path / "ctc")
    assert data.names == ("01-t001",)
    np.testing.assert_array_equal(data.images[0][..., 0], noise(6, 7, seed=1))
    assert sum(e.reason == "no label in SEG/" for e in data.entries) == 2
    mask = np.zeros((6, 7), np.uint8)
    for case in ("x", "y"):
        png(tmp_path / "dsb" / case / "images" / f"{case}.png", noise(6, 7))
        for i in range(2):
            one = mask.copy()
            one[3 * i : 3 * i + 2, :3] = 255
            png(tmp_path / "dsb" / case / "masks" / f"{i}{case}.png", one)
    for opened in (open_dataset, open_stored):
        data = opened(tmp_path / "dsb")
        assert data.names == ("x", "y")
        numbers = np.asarray(data.instances[0])
        assert (numbers[0, 0], numbers[3, 0], numbers[5, 6]) == (1, 2, 0)


def test_train_and_val_folders_split_the_data(tmp_path):
    lay(tmp_path / "train", "images", "masks")
    lay(tmp_path / "val", "images", "masks", 2)
    (tmp_path / "test").mkdir()
    training, validation = split(open_dataset(tmp_path))
    assert training.names == ("train-a", "train-b", "train-c")
    assert validation.names == ("val-a", "val-b")
    lay(tmp_path / "yolo", "images/train", "labels/train")
    lay(tmp_path / "yolo", "images/val", "labels/val", 1)
    assert split(open_dataset(tmp_path / "yolo"))[1].names == ("val-a",)


def test_subfolders_pair_by_their_path(pairs):
    png(pairs / "images" / "p2" / "a.png", noise(8, 9, 3, seed=7))
    assert "p2/a.png: has no label; expected labels/p2/a.png" in refused(open_dataset, pairs)
    png(pairs / "labels" / "p2" / "a_mask.png", noise(8, 9, seed=7, high=2))
    data = open_dataset(pairs)
    assert data.names == ("a", "b", "c", "p2-a")
    np.testing.assert_array_equal(data.images[3], noise(8, 9, 3, seed=7))


def test_both_loaders_see_the_same_files(pairs):
    np.save(pairs / "images" / "d.npy", noise(8, 9, 3, seed=4))
    np.save(pairs / "labels" / "d.npy", noise(8, 9, seed=4, high=2))
    whole, stored = open_dataset(pairs), open_stored(pairs)
    assert whole.names == stored.names == ("a", "b", "c", "d")
    assert whole.entries == stored.entries
    for mine, theirs in zip(whole.images, stored.images, strict=True):
        np.testing.assert_array_equal(mine, np.asarray(theirs))


def test_dangling_links_are_left_out_with_their_partner(pairs):
    (pairs / "images" / "b.png").unlink()
    (pairs / "images" / "b.png").symlink_to("../../.git/annex/objects/none")
    (pairs / "labels" / "c.png").unlink()
    (pairs / "labels" / "c.png").symlink_to("nowhere")
    data = open_dataset(pairs)
    assert data.names == ("a",)
    out = {f"{e.path.parent.name}/{e.path.name}": e.reason for e in data.entries if e.status == "left out"}
    assert set(out) == {"images/b.png", "labels/b.png", "images/c.png", "labels/c.png"}
    assert "git annex get" in out["images/b.png"]
    assert out["labels/b.png"] == "its image is left out"


def test_accents_pair_however_they_are_written(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "zähl") for form in ("NFC", "NFD"))
    png(tmp_path / "images" / f"{decomposed}.PNG", noise(6, 7))
    png(tmp_path / "labels" / f"{composed}.png", noise(6, 7, high=2))
    assert open_dataset(tmp_path).names == (composed,)
    png(tmp_path / "images" / f"{composed}.png", noise(6, 7))
    assert "have the same name" in refused(open_dataset, tmp_path)


def test_a_folder_that_nothing_fits_is_described(tmp_path):
    png(tmp_path / "inputs" / "a.png", noise(6, 7))
    png(tmp_path / "targets" / "a.png", noise(6, 7, high=2))
    message = refused(open_dataset, tmp_path)
    assert "folders inputs, targets" in message
    assert "expected images/ with labels/ or masks/" in message


def test_two_folders_of_images_or_labels_are_one_too_many(pairs):
    (pairs / "img").mkdir()
    assert "has both images/ and img/; keep only one of them" in refused(open_dataset, pairs)


def test_what_is_left_out_beside_flat_pairs_is_said_once(tmp_path):
    for name in ("a", "b"):
        png(tmp_path / f"{name}.png", noise(4, 5))
        png(tmp_path / f"{name}_mask.png", noise(4, 5, high=2))
    (tmp_path / "notes.txt").touch()
    out = [(e.path.name, e.reason) for e in open_dataset(tmp_path).entries if e.status == "left out"]
    assert out == [("notes.txt", "unsupported file ending (.txt)")]


def test_a_folder_of_dicom_files_is_told_what_to_do(tmp_path):
    (tmp_path / "IM1.dcm").write_bytes(bytes(128) + b"DICM")
    assert "(found IM1.dcm); DICOM: convert the series to NIfTI, for example with dcm2niix" in refused(
        open_dataset, tmp_path
    )
