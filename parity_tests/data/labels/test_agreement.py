"""Label files of one set that were read in different ways are refused, naming two of them."""

import numpy as np
import tifffile
from PIL import Image

from unet_data import ReadSettings, open_dataset, open_stored, write_stack

from ..io.helpers import noise, refused

RED, GREEN = (200, 0, 0), (0, 200, 0)


def folder(tmp_path, count=2):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for i in range(count):
        write_stack(tmp_path / "images" / f"s{i}.png", noise(1, 8, 9, seed=i))
    return tmp_path / "labels"


def indexed(path, index, *colours):
    image = Image.fromarray(np.asarray(index, np.uint8)).convert("L")
    image.putpalette(bytes(v for colour in colours for v in colour))
    image.save(path)


def test_palettes_that_differ_are_refused_with_two_files_and_the_colours(tmp_path):
    labels = folder(tmp_path)
    index = noise(8, 9) % 2
    indexed(labels / "s0.png", index, (0, 0, 0), RED)
    indexed(labels / "s1.png", index, (0, 0, 0), GREEN)
    for opened in (open_dataset, open_stored):
        message = refused(opened, tmp_path)
        for word in ("s0.png", "s1.png", str(RED), str(GREEN), "--palette index"):
            assert word in message
        data = opened(tmp_path, settings=ReadSettings(palette="index"))
        assert "palette read as index: 2 of 2 labels" in data.decisions


def test_a_colour_that_moves_to_another_number_is_refused(tmp_path):
    labels = folder(tmp_path)
    indexed(labels / "s0.png", (noise(8, 9) % 2) * 2, (0, 0, 0), GREEN, RED)
    indexed(labels / "s1.png", noise(8, 9) % 2, (0, 0, 0), RED)
    assert f"number 1 has the colour {GREEN} in its palette, but {RED}" in refused(open_dataset, tmp_path)


def test_palettes_that_differ_only_where_no_pixel_is_agree(tmp_path):
    labels = folder(tmp_path)
    indexed(labels / "s0.png", noise(8, 9) % 2, (0, 0, 0), RED, GREEN)
    indexed(labels / "s1.png", noise(8, 9) % 2, (0, 0, 0), RED, (1, 2, 3))
    assert open_dataset(tmp_path).class_count == 2


def test_white_is_zero_is_kept_in_all_and_refused_in_some(tmp_path):
    labels = folder(tmp_path)
    masks = [255 * (noise(8, 9, seed=i) > 128).astype(np.uint8) for i in range(2)]
    for i, mask in enumerate(masks):
        tifffile.imwrite(labels / f"s{i}.tif", mask, photometric="miniswhite")
    data = open_dataset(tmp_path)
    assert data.labels is not None
    np.testing.assert_array_equal(data.labels[0], masks[0] > 0)
    assert any(line.startswith("white is zero: stored numbers kept: 2 of 2 labels") for line in data.decisions)
    tifffile.imwrite(labels / "s1.tif", masks[1], photometric="minisblack")
    message = refused(open_dataset, tmp_path)
    assert "s0.tif" in message
    assert "s1.tif" in message
    open_dataset(tmp_path, settings=ReadSettings(white_is_zero="stored"))


def test_one_bit_masks_are_read_as_the_eight_bit_ones_beside_them(tmp_path):
    labels = folder(tmp_path)
    mask = noise(8, 9) > 128
    for stored in (1, 255):
        Image.fromarray(mask).save(labels / "s0.png")
        Image.fromarray((mask * stored).astype(np.uint8)).save(labels / "s1.png")
        for opened in (open_dataset, open_stored):
            data = opened(tmp_path)
            assert data.labels is not None
            for label in data.labels:
                np.testing.assert_array_equal(np.asarray(label), mask)


def test_grey_and_coloured_palettes_are_not_of_one_set(tmp_path):
    labels = folder(tmp_path)
    indexed(labels / "s0.png", noise(8, 9) % 2, (0, 0, 0), RED)
    indexed(labels / "s1.png", noise(8, 9) % 2, (0, 0, 0), (255, 255, 255))
    message = refused(open_dataset, tmp_path)
    assert "s0.png: has a colour palette, read as indices, but s1.png has a grey palette, read as grey" in message
    indexed(labels / "s0.png", noise(8, 9) % 2, (0, 0, 0), (255, 255, 255))
    assert open_dataset(tmp_path).class_count == 2
    Image.fromarray((noise(8, 9) % 2) * np.uint8(255)).save(labels / "s1.png")  # no palette at all
    assert open_dataset(tmp_path).class_count == 2
