"""Windows of TIFF files against the whole arrays."""

import os

import numpy as np
import pytest
import tifffile

from unet_data import read_stack
from unet_data.io import readers_tiff
from unet_data.io.facts import DEFAULTS
from unet_data.io.readers import open_pictures
from unet_data.io.readers_tiff import CACHE, open_tiff
from unet_spec import InputError

from .helpers import same_windows

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (97, 131)).astype(np.uint8)
KINDS = {
    "plain": (GREY, {}),
    "tiled": (GREY, {"tile": (32, 48), "compression": "zlib"}),
    "strips of 7 rows, BigTIFF": (
        GREY.astype(np.uint16) * 3,
        {"rowsperstrip": 7, "compression": "zlib", "bigtiff": True, "predictor": True},
    ),
    "colour": (RNG.integers(0, 255, (97, 131, 3)).astype(np.uint8), {"tile": (32, 32), "photometric": "rgb"}),
    "colour in planes": (
        RNG.integers(0, 255, (3, 97, 131)).astype(np.uint8),
        {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": "zlib"},
    ),
    "two channels in planes": (
        RNG.integers(0, 255, (2, 97, 131)).astype(np.uint8),
        {"photometric": "minisblack", "planarconfig": "separate", "tile": (32, 48), "compression": "zlib"},
    ),
    "stack": (RNG.normal(size=(5, 97, 131)).astype(np.float32), {"tile": (32, 32), "photometric": "minisblack"}),
    "big-endian stack": (RNG.normal(size=(5, 97, 131)).astype(">f4"), {"byteorder": ">", "photometric": "minisblack"}),
    "OME, channels in pages": (
        RNG.integers(0, 255, (4, 3, 97, 131)).astype(np.uint8),
        {"tile": (32, 32), "metadata": {"axes": "ZCYX"}, "photometric": "minisblack"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_a_tiff(kind, tmp_path):
    pixels, options = KINDS[kind]
    path = tmp_path / ("a.ome.tif" if kind.startswith("OME") else "a.tif")
    tifffile.imwrite(path, pixels, **options)
    whole = read_stack(path)
    pictures = open_pictures(path, 2, whole.shape[-1], whole_below=0)
    assert not isinstance(getattr(pictures[0].read, "__self__", None), np.ndarray), "read in one piece"
    same_windows(pictures, whole)
    if whole.shape[-1] == 1:
        same_windows(open_pictures(path, 3, 1, whole_below=0), whole[None])


def test_windows_of_a_pyramid_are_of_its_largest_level(tmp_path):
    with tifffile.TiffWriter(tmp_path / "p.ome.tif") as tiff:
        tiff.write(GREY, subifds=1, tile=(32, 32))
        tiff.write(GREY[::2, ::2], subfiletype=1, tile=(32, 32))
    same_windows(open_pictures(tmp_path / "p.ome.tif", 2, 1, whole_below=0), GREY[None, ..., None])


SMALL = RNG.integers(0, 60000, (20, 35)).astype(np.uint16)


@pytest.fixture
def reads(monkeypatch):
    """The number of bytes that each request to a file gets."""
    found, read = [], os.pread

    def pread(descriptor, count, offset):
        found.append(count)
        return read(descriptor, count, offset)

    monkeypatch.setattr(os, "pread", pread)
    return found


def test_only_the_tiles_of_a_window_are_read_and_kept_while_there_is_room(tmp_path, reads, monkeypatch):
    assert CACHE == 2**26
    tifffile.imwrite(tmp_path / "a.tif", SMALL, tile=(16, 16), compression="zlib")
    monkeypatch.setattr(readers_tiff, "CACHE", 2 * 16 * 16 * 2)
    [picture] = open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)
    for window, count in (
        ((slice(0, 16), slice(0, 16)), 1),  # one tile, up to its edges
        ((slice(0, 16), slice(0, 16)), 0),
        ((slice(15, 16), slice(15, 17)), 1),  # the first tile again, and its neighbour
        ((slice(16, 20), slice(32, 35)), 1),  # a third tile takes the place of the first
        ((slice(0, 2), slice(16, 20)), 0),
        ((slice(0, 2), slice(0, 2)), 1),
        ((slice(0, 20), slice(0, 35)), 6),
    ):
        before = len(reads)
        np.testing.assert_array_equal(picture[window][..., 0], SMALL[window])
        assert len(reads) - before <= count
        assert count == 6 or len(reads) - before == count
    assert picture.held == 20 * 35 * 8


def test_strips_are_read_as_tall_as_they_are(tmp_path, reads):
    tifffile.imwrite(tmp_path / "a.tif", SMALL, rowsperstrip=7, compression="zlib")
    [picture] = open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)
    np.testing.assert_array_equal(picture[7:14, 3:9][..., 0], SMALL[7:14, 3:9])
    assert len(reads) == 1
    np.testing.assert_array_equal(picture[13:20, 0:35][..., 0], SMALL[13:20])
    assert len(reads) == 2
    assert picture.held == 20 * 35 * 8


def test_a_file_is_read_whole_below_the_given_size_only(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SMALL)
    assert open_tiff(tmp_path / "a.tif", SMALL.nbytes + 1, "image", DEFAULTS) is None
    pages = open_tiff(tmp_path / "a.tif", SMALL.nbytes, "image", DEFAULTS)
    assert pages is not None
    assert pages.shape == (1, 20, 35, 1)


def test_a_tile_that_was_not_written_has_the_value_for_no_data(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SMALL, tile=(16, 16), extratags=[(42113, 2, 3, "77", True)])
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        tag.overwrite([0, *tag.value[1:]])
    [picture] = open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)
    found = picture[0:20, 0:35][..., 0]
    assert (found[:16, :16] == 77).all()
    np.testing.assert_array_equal(found[:, 16:], SMALL[:, 16:])


@pytest.mark.parametrize(("more", "damaged"), [(0, False), (1, True)])
def test_a_tile_of_implausibly_many_bytes_is_damaged(tmp_path, more, damaged):
    tifffile.imwrite(tmp_path / "a.tif", np.resize(SMALL, (400, 400)), tile=(400, 400), compression="zlib")
    most = 2 * 400 * 400 * 2 + 2**20
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        tag.overwrite(most + more)
    with pytest.raises(InputError, match=f"{most + 1} bytes; at most {most} are" if damaged else "is incomplete: its"):
        open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)


def test_two_axes_of_channels_are_refused(tmp_path):
    pixels = RNG.integers(0, 255, (2, 9, 11, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, photometric="rgb", metadata={"axes": "CYXS"})
    with pytest.raises(
        InputError, match=r"has two channel axes \(TZCYXS, shape \(1, 1, 2, 9, 11, 3\)\); save it with one"
    ):
        open_pictures(tmp_path / "a.ome.tif", 2, whole_below=0)


def test_pixels_end_before_the_file_does(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", SMALL)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        end = tiff.pages[0].dataoffsets[0] + SMALL.nbytes
    content = (tmp_path / "a.tif").read_bytes()
    assert open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)
    (tmp_path / "a.tif").write_bytes(content[: end - 1])
    with pytest.raises(InputError, match=f"its pixels extend to byte {end}, but the file ends at byte {end - 1}"):
        open_pictures(tmp_path / "a.tif", 2, 1, whole_below=0)
