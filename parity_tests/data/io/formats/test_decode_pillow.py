"""What is decided about PNG and JPEG: alpha, orientation, previews, palettes."""

import numpy as np
import pytest
from PIL import Image

from unet_data import ReadSettings, read_image
from unet_data.io.decode import decode

from ..helpers import noise, refused


def test_alpha_is_said_and_can_be_kept(tmp_path):
    rgba = noise(5, 7, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png")[1].alpha == "dropped"
    kept, facts = decode(tmp_path / "a.png", "image", ReadSettings(channels="all"))
    np.testing.assert_array_equal(kept[0], rgba)
    assert (facts.alpha, facts.axes, facts.sizes) == ("kept", "YXS", (5, 7, 4))


def test_the_orientation_of_a_camera_is_applied_and_said(tmp_path):
    stored = np.kron(noise(2, 3), np.ones((8, 8), np.uint8))  # whole blocks: JPEG keeps them nearly
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif, quality=100)
    pixels, facts = decode(tmp_path / "a.jpg")
    assert (facts.orientation, facts.turned) == (6, True)
    assert np.abs(pixels[0, ..., 0].astype(int) - np.rot90(stored, -1)).max() < 4
    left = read_image(tmp_path / "a.jpg", ReadSettings(orientation="ignore"))
    assert left.shape == (16, 24, 1)


def test_the_first_picture_of_an_mpo_is_read(tmp_path):
    first = np.kron(noise(2, 3), np.ones((8, 8), np.uint8))
    preview = Image.fromarray(np.zeros((8, 8), np.uint8))
    Image.fromarray(first).save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview], quality=100)
    pixels, facts = decode(tmp_path / "a.jpg")
    assert np.abs(pixels[0, ..., 0].astype(int) - first).max() < 4
    assert facts.left_out == ("the previews of an MPO file (a camera's JPEG)",)


def test_palettes_of_labels_are_reported_with_their_colours(tmp_path):
    image = Image.fromarray(noise(5, 7) % 2).convert("L")
    image.putpalette(bytes([0, 0, 0, 200, 0, 0]))
    image.save(tmp_path / "a.png")
    facts = decode(tmp_path / "a.png", "label")[1]
    assert (facts.palette, facts.colours[:2]) == ("index", ((0, 0, 0), (200, 0, 0)))
    assert decode(tmp_path / "a.png")[1].palette == "colour"
    index, facts = decode(tmp_path / "a.png", "image", ReadSettings(palette="index"))
    assert (facts.palette, index.max()) == ("index", 1)


@pytest.mark.parametrize(("ending", "options"), [("bmp", {}), ("gif", {}), ("webp", {"lossless": True}), ("jp2", {})])
def test_other_formats_of_pictures(tmp_path, ending, options):
    grey = noise(16, 17)
    colour = np.repeat(grey[..., None], 3, -1) if ending == "gif" else noise(16, 17, 3)
    Image.fromarray(colour).save(tmp_path / f"a.{ending}", **options)
    back = read_image(tmp_path / f"a.{ending}")
    assert back.shape[-1] == (1 if ending == "gif" else 3)
    np.testing.assert_array_equal(np.broadcast_to(back, colour.shape), colour)


def test_pointers_to_files_that_were_not_fetched_name_the_remedy(tmp_path):
    (tmp_path / "a.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    assert "git lfs pull" in refused(read_image, tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_mask_drawn_in_the_alpha_channel_is_refused(mode, tmp_path):
    pixels = np.zeros((5, 6, len(mode)), np.uint8)
    pixels[1:3, 2:4, -1] = 255
    Image.fromarray(pixels, mode).save(tmp_path / "a.png")
    assert "its mask is in the alpha channel" in refused(decode, tmp_path / "a.png", "label")
    assert decode(tmp_path / "a.png")[0].shape[-1] == len(mode) - 1
    pixels[1, 2, 0] = 1
    Image.fromarray(pixels, mode).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", "label")[0].max() == 1
