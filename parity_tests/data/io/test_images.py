"""Images written and read again: every dtype and axis order, and files that are refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import read_image, read_stack, write_stack

from .helpers import noise, refused

SHAPES = [
    (1, 5, 7),
    (4, 5, 7),
    (4, 5, 7, 1),
    (4, 5, 7, 2),
    (3, 5, 7, 3),
    (2, 5, 7, 4),
    (1, 5, 7, 2),
    (4, 1, 7),
    (4, 5, 1),
]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 1, 1, 3), (3, 3, 3, 3), (3, 3, 4, 5)], ids=str)
def test_tiff_round_trip_is_exact(tmp_path, shape, dtype):
    array = noise(*shape, dtype=dtype)
    write_stack(tmp_path / "a.tif", array)
    back = read_stack(tmp_path / "a.tif")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array[..., None] if array.ndim == 3 else array)


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (1, np.uint16), (3, np.uint8)])
def test_png_round_trip_is_exact(tmp_path, channels, dtype):
    array = noise(1, 5, 7, channels, dtype=dtype)
    write_stack(tmp_path / "a.png", array)
    back = read_stack(tmp_path / "a.png")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, array)


def test_tiff_is_deflate_and_readable_by_others(tmp_path):
    array = noise(3, 6, 5)
    write_stack(tmp_path / "a.tif", array)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.pages[0].compression.name == "ADOBE_DEFLATE"
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == 3
        image.seek(2)
        np.testing.assert_array_equal(np.asarray(image), array[2])


def test_big_endian_and_strided_arrays_are_written_as_their_values(tmp_path):
    array = noise(2, 6, 8, dtype=np.uint16)
    write_stack(tmp_path / "a.tif", array.astype(">u2")[:, ::2, ::-1])
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif")[..., 0], array[:, ::2, ::-1])
    tifffile.imwrite(tmp_path / "b.tif", array, byteorder=">")
    back = read_stack(tmp_path / "b.tif")
    assert back.dtype == np.uint16
    np.testing.assert_array_equal(back[..., 0], array)


@pytest.mark.parametrize(
    ("axes", "shape", "order"),
    [
        ("ZYX", (3, 5, 7), None),
        ("TZYX", (2, 3, 5, 7), None),
        ("CYX", (2, 5, 7), (1, 2, 0)),
        ("ZCYX", (3, 2, 5, 7), (0, 2, 3, 1)),
        ("ZYXS", (3, 5, 7, 3), (0, 1, 2, 3)),
    ],
)
@pytest.mark.parametrize("flavour", ["imagej", "ome"])
def test_named_axes_become_n_h_w_c(tmp_path, axes, shape, order, flavour):
    array = noise(*shape)
    options = {"photometric": "rgb"} if "S" in axes else {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", array, metadata={"axes": axes}, **{flavour: True}, **options)
    expected = array.reshape(-1, 5, 7, 1) if order is None else array.transpose(order)
    expected = expected[None] if expected.ndim == 3 else expected
    np.testing.assert_array_equal(read_stack(tmp_path / "a.tif"), expected)


def test_pages_written_by_pillow_and_planar_colour(tmp_path):
    array = noise(3, 5, 7)
    pages = [Image.fromarray(page) for page in array]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_stack(tmp_path / "pages.tif")[..., 0], array)
    tifffile.imwrite(tmp_path / "planar.tif", array, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planar.tif"), array.transpose(1, 2, 0))


def test_read_image_refuses_a_stack(tmp_path):
    write_stack(tmp_path / "a.tif", noise(3, 5, 7))
    assert "3 pages" in refused(read_image, tmp_path / "a.tif")


def test_jpeg_is_read(tmp_path):
    Image.fromarray(np.full((8, 8, 3), 120, np.uint8)).save(tmp_path / "a.jpg")
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - 120).max() <= 2


def test_content_decides_not_the_name(tmp_path):
    write_stack(tmp_path / "a.tif", noise(2, 5, 7))
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    assert read_stack(tmp_path / "a.png").shape == (2, 5, 7, 1)


def test_files_that_are_no_images(tmp_path):
    assert "no such file" in refused(read_stack, tmp_path / "missing.png")
    assert "is a folder" in refused(read_stack, tmp_path)
    (tmp_path / "empty.png").touch()
    assert "empty (0 bytes)" in refused(read_stack, tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("hello")
    assert "not a PNG, JPEG, TIFF" in refused(read_stack, tmp_path / "text.png")
    Image.fromarray(noise(4, 4)).save(tmp_path / "a.ppm")
    assert "not a PNG, JPEG, TIFF" in refused(read_stack, tmp_path / "a.ppm")


def test_what_cannot_be_written_is_refused_and_leaves_nothing(tmp_path):
    array = noise(2, 5, 7)
    message = refused(write_stack, tmp_path / "a.bmp", array)
    assert ".png, .tif, .tiff" in message
    assert "without suffix" in refused(write_stack, tmp_path / "a", array)
    assert "use .tif" in refused(write_stack, tmp_path / "a.png", array)
    assert "use .tif" in refused(write_stack, tmp_path / "a.png", array[:1].astype(np.float32))
    assert "use .tif" in refused(write_stack, tmp_path / "a.png", noise(1, 5, 7, 4))
    assert "use .tif" in refused(write_stack, tmp_path / "a.png", noise(1, 5, 7, 3, dtype=np.uint16))
    assert "int32" in refused(write_stack, tmp_path / "a.tif", array.astype(np.int32))
    assert "bool" in refused(write_stack, tmp_path / "a.tif", array > 3)
    assert "(5, 7)" in refused(write_stack, tmp_path / "a.tif", array[0])
    assert "(0, 5, 7)" in refused(write_stack, tmp_path / "a.tif", array[:0])
    assert "does not exist" in refused(write_stack, tmp_path / "none" / "a.tif", array)
    (tmp_path / "folder.tif").mkdir()
    assert "is a folder" in refused(write_stack, tmp_path / "folder.tif", array)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.tif"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    write_stack(path, noise(2, 5, 7))
    before = path.read_bytes()

    def half_way(file, *arguments, **options):
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", half_way)
    assert "No space left" in refused(write_stack, path, noise(3, 5, 7))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.tif"]


def test_importing_is_light():
    code = "import sys, unet_data; print([m for m in ('scipy', 'tifffile', 'PIL', 'jax', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
