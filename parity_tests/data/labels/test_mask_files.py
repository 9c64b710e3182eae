"""Label files of classes that overlap: each way to write the same masks is read as the same masks."""

import numpy as np
import pytest
import tifffile

from unet_data import open_dataset, open_stored, split, unpack_masks, write_stack
from unet_data.datasets.check import check_dataset, class_shares

from ..io.helpers import refused

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (4, 12, 10), np.uint8, endpoint=True)
MASKS = np.kron(RNG.integers(0, 2, (4, 6, 5, 3)), np.ones((1, 2, 2, 1), int)).astype(np.uint8)
NAMES = ("a", "b", "core")


def folder(path, write):
    """images/im0.png … with the labels that `write` makes of a path without ending and masks (H, W, 3)."""
    for number, (image, masks) in enumerate(zip(IMAGES, MASKS, strict=True)):
        (path / "images").mkdir(parents=True, exist_ok=True)
        write_stack(path / "images" / f"im{number}.png", image[None])
        write(path / "labels", f"im{number}", masks)
    return path


def one_each(form):
    def write(labels, name, masks):
        for k, own in enumerate(NAMES):
            path = labels / form.format(name=name, own=own)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_stack(path, masks[None, ..., k] * np.uint8(255))

    return write


def one_file(save):
    def write(labels, name, masks):
        labels.mkdir(exist_ok=True)
        save(labels / name, masks)

    return write


FORMS = {
    "a folder a class": one_each("{own}/{name}.png"),
    "a folder an image": one_each("{name}/{own}.png"),
    "in the name": one_each("{name}_{own}.png"),
    "in the name of a mask": one_each("{own}/{name}_mask.png"),
    "channels": one_file(lambda path, m: write_stack(path.with_suffix(".tif"), m[None] * np.uint8(255))),
    "pages": one_file(lambda path, m: write_stack(path.with_suffix(".tif"), np.moveaxis(m, -1, 0) * np.uint8(255))),
    "RGB": one_file(lambda path, m: write_stack(path.with_suffix(".png"), m[None] * np.uint8(255))),
    "npy": one_file(lambda path, m: np.save(path.with_suffix(".npy"), m)),
    "npy, classes first": one_file(lambda path, m: np.save(path.with_suffix(".npy"), np.moveaxis(m, -1, 0))),
}


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_masks(form, opened, tmp_path):
    path = folder(tmp_path, FORMS[form])
    data = opened(path, kind="overlapping")
    assert data.overlapping
    assert data.class_names == (NAMES if form[0] in "ai" else ("class 0", "class 1", "class 2"))
    for image, label, pixels, masks in zip(data.images, data.labels, IMAGES, MASKS, strict=True):
        np.testing.assert_array_equal(np.asarray(image)[..., 0], pixels)
        np.testing.assert_array_equal(unpack_masks(label, 3), masks)
    assert "of overlapping classes" in data.source
    shares, ignored = class_shares(data)
    assert list(shares.values()) == pytest.approx(MASKS.mean((0, 1, 2)).tolist())
    assert ignored == 0
    assert [len(part) for part in split(data)] == [3, 1]
    assert "masks" not in " ".join(p.what for p in check_dataset(data) if p.level == "error")


@pytest.mark.parametrize("form", ["a folder a class", "in the name", "channels", "pages", "npy"])
def test_without_the_option_the_message_names_it(form, tmp_path):
    path = folder(tmp_path, FORMS[form])
    assert "--labels overlapping" in refused(open_dataset, path)


def test_four_masks_that_look_like_rgba_stay_four(tmp_path):
    def save(path, masks):
        four = np.concatenate([masks, masks[..., :1]], -1) * np.uint8(255)
        tifffile.imwrite(path.with_suffix(".tif"), four, photometric="rgb", extrasamples=["unassalpha"])

    data = open_dataset(folder(tmp_path, one_file(save)), kind="overlapping")
    assert data.class_count == 4
    np.testing.assert_array_equal(unpack_masks(data.labels[0], 4)[..., 3], MASKS[0, ..., 0])


def test_an_absent_file_is_an_empty_mask_and_reported(tmp_path):
    path = folder(tmp_path, FORMS["a folder a class"])
    (path / "labels" / "core" / "im1.png").unlink()
    data = open_dataset(path, kind="overlapping")
    assert not unpack_masks(data.labels[1], 3)[..., 2].any()
    assert data.decisions == ["left out class core without a mask file: 1 of 4 labels"]


def test_numbers_that_stand_for_several_classes(tmp_path):
    def save(path, masks):
        write_stack(path.with_suffix(".png"), (masks[..., 0] + masks[..., 0] * masks[..., 1])[None])

    path = folder(tmp_path, one_file(save))
    data = open_dataset(path, kind="overlapping", class_numbers="whole=1-2;inner=2")
    assert data.class_names == ("whole", "inner")
    found = unpack_masks(data.labels[0], 2)
    np.testing.assert_array_equal(found[..., 0], MASKS[0, ..., 0])
    np.testing.assert_array_equal(found[..., 1], MASKS[0, ..., 0] * MASKS[0, ..., 1])
    assert "--class-numbers 'whole=1-3;core=2,3'" in refused(open_dataset, path, 2, "overlapping")


def test_volumes(tmp_path):
    volume, masks = RNG.integers(0, 255, (3, 8, 9), np.uint8), RNG.integers(0, 2, (3, 8, 9, 2)).astype(np.uint8)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    plain = {"photometric": "minisblack", "imagej": True}
    tifffile.imwrite(tmp_path / "images" / "v.tif", volume, metadata={"axes": "ZYX"}, **plain)
    tifffile.imwrite(tmp_path / "labels" / "v.tif", np.moveaxis(masks, -1, 1), metadata={"axes": "ZCYX"}, **plain)
    for opened in (open_dataset, open_stored):
        data = opened(tmp_path, 3, kind="overlapping")
        assert [label.shape for label in data.labels] == [(3, 8, 9)]
        np.testing.assert_array_equal(unpack_masks(data.labels[0], 2), masks)


def test_ignored_pixels_count_for_no_class(tmp_path):
    def save(path, masks):
        masks = masks * np.uint8(1)
        masks[0, 0, 1] = 255
        write_stack(path.with_suffix(".tif"), masks[None])

    data = open_dataset(folder(tmp_path, one_file(save)), kind="overlapping", ignore=255)
    assert {int(label[0, 0]) for label in data.labels} == {-1}
    assert sum(int((label == -1).sum()) for label in data.labels) == 4


def test_what_does_not_fit_is_refused(tmp_path):
    path = folder(tmp_path / "size", FORMS["channels"])
    write_stack(path / "labels" / "im2.tif", np.zeros((1, 5, 5, 3), np.uint8))
    assert "im2.tif: is 5x5 but its image is 12x10" in refused(open_dataset, path, 2, "overlapping")
    path = folder(tmp_path / "count", FORMS["channels"])
    write_stack(path / "labels" / "im2.tif", np.zeros((1, 12, 10, 2), np.uint8))
    assert "has 2 classes" in refused(open_dataset, path, 2, "overlapping")
    path = folder(tmp_path / "grey", FORMS["channels"])
    write_stack(path / "labels" / "im2.tif", np.arange(360, dtype=np.uint16).reshape(1, 12, 10, 3))
    assert "im2.tif, channel 0: holds 0, 3, 6" in refused(open_dataset, path, 2, "overlapping")
    path = folder(tmp_path / "mixed", FORMS["a folder a class"])
    for own in NAMES:
        (path / "labels" / own / "im1.png").unlink()
    write_stack(path / "labels" / "im1.png", np.zeros((1, 12, 10), np.uint8))
    assert "other masks have one file per class" in refused(open_dataset, path, 2, "overlapping")
    path = folder(tmp_path / "numbers", FORMS["a folder a class"])
    assert "their own mask files" in refused(open_dataset, path, 2, "overlapping", None, None, "a=1")


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_in_a_zarr_are_one_channel_per_class(dims, tmp_path):
    zarr = pytest.importorskip("zarr", reason="zarr is not installed; pip install 'unet-twins[zarr]'")
    volume, masks = RNG.integers(0, 255, (4, 8, 9), np.uint8), RNG.integers(0, 2, (4, 8, 9, 3)).astype(np.uint8)
    count = 1 if dims == 3 else 2  # a 2-D network's images are files of one picture
    for number in range(count):
        for kind, values in (("images", volume), ("labels", masks)):
            (tmp_path / kind).mkdir(exist_ok=True)
            own = values if dims == 3 else values[number]
            zarr.save_array(str(tmp_path / kind / f"v{number}.zarr"), own)
    data = open_dataset(tmp_path, dims, kind="overlapping")
    assert data.class_names == ("class 0", "class 1", "class 2")
    for number, label in enumerate(data.labels):
        np.testing.assert_array_equal(unpack_masks(label, 3), masks if dims == 3 else masks[number])
