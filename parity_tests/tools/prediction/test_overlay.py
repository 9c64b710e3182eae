"""The picture of a result: lines at the edges of classes, in their colours; palettes that preserve the numbers."""

import numpy as np
import pytest
from PIL import Image

from unet_data import read_image, read_labels, write_stack
from unet_data.io.colours import colour
from unet_data.metrics.confusion import confusion
from unet_spec import InputError
from unet_tools.prediction import overlay
from unet_tools.prediction.overlay import outlined, overlay_path, write_overlay

LABELS = np.zeros((20, 24), np.uint8)
LABELS[4:12, 5:15] = 1
LABELS[4:12, 15:20] = 2


def test_each_class_has_a_line_at_its_edge():
    image = np.full((20, 24, 1), 100, np.uint8)
    image[0, 0], image[-1, -1] = 0, 255
    drawn = outlined(image, LABELS)
    assert tuple(drawn[4, 8]) == tuple(drawn[7, 14]) == colour(1)
    assert tuple(drawn[7, 15]) == tuple(drawn[11, 17]) == colour(2)
    grey = drawn[7, 9]  # inside, and outside, nothing is drawn
    assert (drawn[15, 2] == grey).all()
    assert grey[0] == grey[1] == grey[2]


def test_an_overlay_of_files_and_of_every_second_pixel(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    write_stack(tmp_path / "a.tif", rng.integers(0, 9, (1, 20, 24), np.uint8).astype(np.uint16) * 4000)
    write_stack(tmp_path / "out.png", LABELS[None], labels=True)
    target = overlay_path(tmp_path / "out.png")
    assert overlay_path(tmp_path / "a.nii.gz").name == "a-overlay.png"
    assert target.name == "out-overlay.png"
    write_overlay(tmp_path / "a.tif", tmp_path / "out.png", target, 2)
    whole = read_image(target)
    np.testing.assert_array_equal(whole[4, 5:15], np.broadcast_to(colour(1), (10, 3)))
    monkeypatch.setattr(overlay, "LARGEST", 12)
    write_overlay(tmp_path / "a.tif", tmp_path / "out.png", target, 2)
    assert read_image(target).shape == (10, 12, 3)


def test_the_middle_plane_of_a_volume_is_shown(tmp_path):
    volume, labels = np.zeros((3, 20, 24), np.uint8), np.zeros((3, 20, 24), np.uint8)
    volume[1] = LABELS * 50
    labels[1] = LABELS
    write_stack(tmp_path / "a.tif", volume)
    write_stack(tmp_path / "l.tif", labels)
    write_overlay(tmp_path / "a.tif", tmp_path / "l.tif", tmp_path / "o.png", 3)
    assert tuple(read_image(tmp_path / "o.png")[4, 8]) == colour(1)


def test_a_png_of_labels_has_colours_and_the_same_numbers(tmp_path):
    many = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    write_stack(tmp_path / "l.png", many, labels=True)
    with Image.open(tmp_path / "l.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), many[0])
        assert image.convert("RGB").getpixel((1, 0)) == colour(1)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.png"), many)
    assert confusion(read_labels(tmp_path / "l.png"), many, 256).trace() == 256


def test_labels_of_another_size_are_refused():
    with pytest.raises(InputError, match="pixels"):
        outlined(np.zeros((4, 4, 1)), LABELS)


@pytest.mark.parametrize("depth", [4, 5])
def test_the_plane_after_the_middle_of_an_even_number_is_shown(depth, tmp_path):
    labels = np.zeros((depth, 20, 24), np.uint8)
    labels[depth // 2] = LABELS
    write_stack(tmp_path / "a.tif", labels * 50)
    write_stack(tmp_path / "l.tif", labels)
    write_overlay(tmp_path / "a.tif", tmp_path / "l.tif", tmp_path / "o.png", 3)
    drawn = read_image(tmp_path / "o.png")
    assert drawn.shape == (20, 24, 3)
    assert tuple(drawn[4, 8]) == colour(1)


def test_colours_stay_colours_and_a_first_channel_stands_for_two():
    image = np.zeros((20, 24, 4), np.float32)
    image[..., 0], image[..., 3] = 1, np.arange(24)  # of four channels, three are shown
    image[10:, :, 1] = 1
    drawn = outlined(image, np.zeros((20, 24), np.uint8))
    assert (drawn[:10] == [255, 0, 0]).all()
    assert (drawn[10:] == [255, 255, 0]).all()
    two = np.stack([np.tile(np.arange(24.0), (20, 1)), np.full((20, 24), 9.0)], -1)
    grey = outlined(two, np.zeros((20, 24), np.uint8))
    assert (grey == grey[..., :1]).all()
    assert (np.diff(grey[0, 1:-1, 0].astype(int)) > 0).all()


def test_the_first_and_last_percent_of_the_values_are_black_and_white():
    image = np.arange(400.0).reshape(20, 20, 1)
    grey = outlined(image, np.zeros((20, 20), np.uint8))[..., 0].ravel()
    low, high = np.percentile(image, (1, 99))
    np.testing.assert_array_equal(
        grey, np.clip((np.arange(400) - low) / (high - low), 0, 1).astype(np.float32) * 255 // 1
    )
    assert (grey[:4] == 0).all()
    assert (grey[-4:] == 255).all()
    assert (grey[4], grey[-5]) == (0, 254)


def test_values_that_are_not_finite_are_black_and_the_others_keep_their_range():
    image = np.full((20, 24, 1), np.nan, np.float32)
    assert not outlined(image, np.zeros((20, 24), np.uint8)).any()
    image[:10] = 1
    image[:5] = 3
    drawn = outlined(image, np.zeros((20, 24), np.uint8))[..., 0]
    assert (drawn[0, 0], drawn[7, 0], drawn[15, 0]) == (255, 0, 0)


@pytest.mark.parametrize(("side", "width"), [(399, 1), (400, 2)])
def test_a_line_has_two_pixels_where_the_picture_is_large(side, width):
    labels = np.zeros((side, side + 8), np.uint8)
    labels[:, 100:] = 1
    drawn = outlined(np.zeros((side, side + 8, 1), np.uint8), labels)
    coloured = (drawn[50] == colour(1)).all(-1)
    np.testing.assert_array_equal(np.flatnonzero(coloured), np.arange(100, 100 + width))


def test_a_picture_of_two_thousand_pixels_is_shown_whole():
    assert overlay.LARGEST == 2048


def test_of_a_picture_that_is_too_large_every_so_many_pixels_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(overlay, "LARGEST", 10)
    image = (np.arange(25)[:, None] * 10 + np.arange(21)).astype(np.uint8)
    picture = overlay.open_pictures(written(tmp_path / "a.tif", image), 2)[0]
    for rows in (25, 7, 4):  # read in bands of so many rows
        monkeypatch.setattr(overlay, "bands", lambda size, rows=rows: [
            (slice(at, min(at + rows, size[0])), slice(0, size[1])) for at in range(0, size[0], rows)])  # fmt: skip
        np.testing.assert_array_equal(overlay._plane(picture)[..., 0], image[::3, ::3])


def written(path, image):
    write_stack(path, image[None])
    return path
