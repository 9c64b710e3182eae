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
