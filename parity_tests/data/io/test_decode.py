"""Pixels of every colour mode and depth, and every way in which a file can be bad."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import read_image, read_labels, read_stack, write_stack
from unet_data.io.decode import begins_tiff, check_claim, check_ratio, one_line
from unet_spec import InputError

from .helpers import hand_made_png, noise, refused


def test_alpha_is_dropped_without_blending(tmp_path):
    rgba = noise(5, 7, 4)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), rgba[..., :3])
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), rgba[..., :3])
    Image.fromarray(rgba[..., :2].copy()).save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png"), rgba[..., :1])


def test_palette_is_rgb_for_images_and_index_for_labels(tmp_path):
    index = noise(5, 7) % 3
    palette = np.array([[0, 0, 0], [128, 0, 0], [10, 20, 30]], np.uint8)
    image = Image.fromarray(index).convert("L")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), palette[index])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png")[0], index)
    colormap = np.zeros((3, 256), np.uint16)
    colormap[:, :3] = palette.T.astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), palette[index])
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], index)


def test_grey_palette_of_an_optimised_mask_keeps_its_greys(tmp_path):
    """White first: the index would turn the mask inside out."""
    index = noise(5, 7) % 2
    image = Image.fromarray(index).convert("L")
    image.putpalette(bytes([255, 255, 255, 0, 0, 0]))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png")[0], 255 - 255 * index)


def test_low_depth_grey_png(tmp_path):
    hand_made_png(tmp_path / "a.png", 4, 1, 2, 0, [bytes([0b00011011])])
    assert read_labels(tmp_path / "a.png").ravel().tolist() == [0, 1, 2, 3]
    assert read_image(tmp_path / "a.png").ravel().tolist() == [0, 85, 170, 255]


def test_one_bit_images(tmp_path):
    mask = noise(5, 9) > 100
    Image.fromarray(mask).save(tmp_path / "a.png")
    back = read_image(tmp_path / "a.png")
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back[..., 0], mask * 255)
    assert read_labels(tmp_path / "a.png").dtype == bool


def test_white_is_zero_is_inverted(tmp_path):
    array = noise(5, 7)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], 255 - array)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float64])
def test_other_dtypes_become_float32(tmp_path, dtype):
    array = (noise(4, 5, dtype=np.uint8) // 4 - (0 if np.dtype(dtype).kind == "u" else 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array)
    back = read_image(tmp_path / "a.tif")
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back[..., 0], array.astype(np.float64))


def test_numbers_that_float32_cannot_hold_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((4, 5), 2**24 + 1, np.uint32))
    assert "16777217" in refused(read_image, tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.full((4, 5), 1e39))
    assert "float32" in refused(read_image, tmp_path / "b.tif")
    tifffile.imwrite(tmp_path / "c.tif", np.full((4, 5), 1 + 1j, np.complex64))
    assert "complex64" in refused(read_image, tmp_path / "c.tif")


def test_nan_and_infinity_are_counted_and_named(tmp_path):
    array = np.zeros((2, 4, 5), np.float32)
    array[0, 0, :2], array[1, 1, 1] = np.nan, -np.inf
    tifffile.imwrite(tmp_path / "a.tif", array)
    message = refused(read_stack, tmp_path / "a.tif")
    assert "2 NaN and 1 infinite of 40" in message
    assert "a.tif" in message
    assert "2 NaN" in refused(write_stack, tmp_path / "b.tif", array)
    assert not (tmp_path / "b.tif").exists()


def test_files_that_would_lose_something_are_refused(tmp_path):
    hand_made_png(tmp_path / "a.png", 2, 1, 16, 2, [bytes(range(12))])
    assert "16-bit colour PNG" in refused(read_image, tmp_path / "a.png")
    frames = [Image.fromarray(noise(4, 4, seed=i)) for i in range(2)]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    assert "animation" in refused(read_image, tmp_path / "b.png")
    Image.fromarray(noise(4, 4, 3)).convert("CMYK").save(tmp_path / "c.jpg")
    assert "CMYK" in refused(read_image, tmp_path / "c.jpg")
    frames = [Image.fromarray(noise(4, 4)), Image.fromarray(noise(4, 5))]
    frames[0].save(tmp_path / "d.tif", save_all=True, append_images=frames[1:])
    message = refused(read_stack, tmp_path / "d.tif")
    assert "4x4x1" in message
    assert "5x4x1" in message


@pytest.mark.parametrize("writer", ["ours", "imagej", "plain", "png", "jpeg"])
def test_a_file_cut_short_is_refused_or_whole(tmp_path, writer):
    """At whatever byte a download stops: an InputError, or (cut in the padding at the end) all of the pixels."""
    array, path = noise(4, 9, 7), tmp_path / "a.tif"
    if writer == "ours":
        write_stack(path, array)
    elif writer in ("png", "jpeg"):
        Image.fromarray(array[0]).save(path, format=writer)
    else:
        tifffile.imwrite(path, array, photometric="minisblack", imagej=writer == "imagej")
    content, whole = path.read_bytes(), read_stack(path)
    refusals = []
    for length in [*range(0, len(content) - 40, 11), *range(len(content) - 40, len(content))]:
        path.write_bytes(content[:length])
        try:
            np.testing.assert_array_equal(read_stack(path), whole)
        except InputError as error:
            refusals.append(str(error))
    assert len(refusals) > 20
    assert not any("\n" in message for message in refusals)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_flipped_bytes_never_escape_as_another_error(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_stack(path, noise(1, 9, 7))
    content, rng = path.read_bytes(), np.random.default_rng(0)
    refusals = 0
    for _ in range(150):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_stack(path)
        except InputError:
            refusals += 1
    assert refusals > 10


def test_a_size_that_the_file_cannot_hold_is_refused_before_memory_is_taken(tmp_path):
    hand_made_png(tmp_path / "a.png", 8000, 8000, 8, 0, [b"0"])
    assert "cannot contain an image of shape (8000, 8000)" in refused(read_stack, tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", noise(4, 5), metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(2_000_000_000)
    assert "cannot contain an image of shape (2000000000, 5" in refused(read_stack, tmp_path / "a.tif")


def test_lzw_without_imagecodecs_says_what_to_install(tmp_path):
    Image.fromarray(noise(16, 16)).save(tmp_path / "a.tif", compression="tiff_lzw")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "import numpy as np\n"
        "from unet_data import read_stack, write_stack\n"
        f"write_stack({str(tmp_path / 'b.tif')!r}, np.ones((2, 4, 5), np.uint8))\n"
        f"assert read_stack({str(tmp_path / 'b.tif')!r}).sum() == 40\n"
        f"read_stack({str(tmp_path / 'a.tif')!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = result.stderr.strip().splitlines()[-1]
    assert "InputError" in last
    assert "LZW, which needs the package imagecodecs" in last


def test_a_library_error_is_one_line_of_at_most_160_characters():
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    assert one_line(KeyError("k" * 146)) == f"KeyError: '{'k' * 146}'"[:160]
    for length in (148, 149, 150, 500):
        text = f"ValueError: {'x' * length}"
        assert one_line(ValueError("x" * length)) == (text if length == 148 else text[:157] + "...")
        assert len(one_line(ValueError("x" * length))) == min(160, len(text))


def test_a_claimed_size_is_refused_beyond_a_ratio_of_the_bytes(tmp_path, monkeypatch):
    from unet_data.io import decode

    monkeypatch.setattr(decode, "_LARGEST_RATIO", 10)
    check_ratio(tmp_path, (5, 20), 10)
    with pytest.raises(InputError, match=r"10 bytes cannot contain an image of shape \(101,\)"):
        check_ratio(tmp_path, (101,), 10)
    asked = []
    monkeypatch.setattr(decode, "check_memory", lambda path, needed, stored: asked.append((needed, stored)))
    (tmp_path / "a").write_bytes(bytes(1000))
    for itemsize, held in ((1, 2), (2, 4), (4, 8), (8, 12)):  # as stored, and as returned: at most float32
        check_claim(tmp_path / "a", (10, 3), itemsize)
        assert asked.pop() == (30 * held, 1000)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1",
            "is a Git LFS pointer, not the file itself; fetch the file (git lfs",
        ),
        (b"/annex/objects/MD5", "is a git-annex pointer"),
        (b"../.git/annex/objects/x", "is a git-annex pointer"),
        (bytes(128) + b"DICM", "is a DICOM file; convert the series to NIfTI, for example with dcm2niix"),
        (b"GIF7", "is not a PNG, JPEG, TIFF, BMP, GIF, WebP, JPEG 2000 or NIfTI file; convert it"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, head, words):
    (tmp_path / "a.png").write_bytes(head)
    assert words in refused(read_stack, tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000"])
def test_the_first_bytes_decide_not_the_name(tmp_path, kind):
    pixels = np.full((8, 9), 200, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a", format=kind)
    (tmp_path / "a").rename(tmp_path / "a.nii")
    found = read_image(tmp_path / "a.nii")
    assert np.abs(found.astype(int) - 200).max() <= 1
    assert found.shape[:2] == (8, 9)


def test_the_head_of_a_tiff():
    heads = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]
    assert all(map(begins_tiff, heads))
    assert not any(map(begins_tiff, (b"II\0*", b"MM*\0", b"II*", b"")))


def test_a_text_of_an_error_is_one_line_of_160_characters():
    assert one_line(ValueError("a\n  b")) == "ValueError: a b"
    exact = "x" * (160 - len("ValueError: "))
    assert one_line(ValueError(exact)) == f"ValueError: {exact}"
    long = one_line(ValueError(exact + "x"))
    assert (len(long), long[-5:]) == (160, "xx...")
