"""TIFF files behind a URL: as from a disk, by ranges of bytes, counted."""

import io
from pathlib import Path

import numpy as np
import pytest

tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
pytest.importorskip("fsspec", reason="fsspec is not installed")
pytest.importorskip("aiohttp", reason="aiohttp is not installed")

from unet_data import open_pictures
from unet_data.io.budget import memory_limit
from unet_data.io.stores import ranges, remote
from unet_data.io.stores.ranges import RemoteFile

from ..formats.bright import predicted
from ..helpers import noise, refused
from .http_server import serving

GREY, WINDOW = noise(1024, 1200, dtype=np.uint16), (slice(300, 430), slice(500, 640))
COLOUR = noise(700, 900, 3)
FILES = {
    "tiled.tif": (GREY, {"tile": (128, 128), "compression": "zlib"}),
    "strips.tif": (GREY, {"rowsperstrip": 7, "compression": "zlib"}),
    "raw.tif": (GREY, {"byteorder": ">"}),
    "raw_strips.tif": (GREY, {"rowsperstrip": 1}),
    "big.tif": (COLOUR, {"tile": (64, 64), "photometric": "rgb", "bigtiff": True}),
    "planes.tif": (COLOUR.transpose(2, 0, 1), {"tile": (64, 64), "photometric": "rgb", "planarconfig": "separate"}),
    "pages.tif": (np.stack([GREY, GREY[::-1]]), {"tile": (128, 128), "photometric": "minisblack"}),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    for name, (array, options) in FILES.items():
        tifffile.imwrite(folder / name, array, **options)
    with serving(folder) as (url, sent):
        yield folder, url, sent


@pytest.mark.parametrize("name", FILES)
def test_windows_are_those_of_the_local_file_and_the_rest_is_not_downloaded(name, served):
    folder, url, sent = served
    sent.clear()
    far, near = (open_pictures(place / name, 2, whole_below=0) for place in (url, folder))
    assert [p.shape for p in far] == [p.shape for p in near]
    assert far[0].facts == near[0].facts
    np.testing.assert_array_equal(far[-1][WINDOW], near[-1][WINDOW])
    assert 0 < sent[name] < 0.45 * (folder / name).stat().st_size
    if name.startswith("raw"):  # of long rows, only the window's part is read
        assert sent[name] < 130 * 140 * 2 + 3 * ranges.BLOCK
    edge = (slice(690, 700), slice(0, 900))
    np.testing.assert_array_equal(far[0][edge], near[0][edge])


def test_a_prediction_reads_each_tile_of_the_file_about_once(served, tmp_path):
    folder, url, sent = served
    sent.clear()
    predicted(url / "tiled.tif", tmp_path / "far.tif", tile=300)
    predicted(folder / "tiled.tif", tmp_path / "near.tif", tile=300)
    assert (tmp_path / "far.tif").read_bytes() == (tmp_path / "near.tif").read_bytes()
    assert sent["tiled.tif"] < 1.3 * (folder / "tiled.tif").stat().st_size


def test_ranges_that_follow_each_other_are_one_request(served):
    _, url, _ = served
    file = RemoteFile(url / "raw.tif")
    asked = []
    cat = file._fs.cat_ranges
    file._fs.cat_ranges = lambda roots, starts, ends, **more: (
        asked.append((starts, ends)) or cat(roots, starts, ends, **more)
    )
    try:
        found = file.ranges([(30, 10), (0, 10), (10, 20), (100, 5)])
    finally:
        del file._fs.cat_ranges
    assert asked == [([0, 100], [40, 105])]
    whole = (served[0] / "raw.tif").read_bytes()
    assert found == [whole[30:40], whole[:10], whole[10:30], whole[100:105]]


def test_a_remote_file_is_read_like_a_local_one(served, monkeypatch):
    folder, url, _ = served
    monkeypatch.setattr(ranges, "BLOCK", 1000)
    far = RemoteFile(url / "raw.tif")
    with (folder / "raw.tif").open("rb") as near:
        for offset, whence, count in [(0, 0, 4), (990, 0, 30), (-5, 1, 3000), (0, 1, 9000), (-20, 2, 100), (7, 2, 1)]:
            assert far.seek(offset, whence) == near.seek(offset, whence)
            assert far.read(count) == near.read(count)
            assert far.tell() == near.tell()
        far.seek(near.seek(-300, io.SEEK_END))
        assert far.read() == near.read()


def test_a_server_without_ranges_is_one_line(served):
    folder, _, _ = served
    with serving(folder, ranges=False) as (url, sent):
        said = refused(open_pictures, url / "tiled.tif", 2)
        assert said.startswith(remote.shown(url / "tiled.tif"))
        assert "its server sends only whole files" in said
        assert "download the file" in said
        assert sum(sent.values()) <= (folder / "tiled.tif").stat().st_size


def test_what_cannot_be_read_is_one_line(served):
    folder, url, _ = served
    (folder / "text.tif").write_text("no image")
    (folder / "empty.tif").write_bytes(b"")
    whole = (folder / "tiled.tif").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    tifffile.imwrite(folder / "mixed.tif", GREY[:50], append=False)
    tifffile.imwrite(folder / "mixed.tif", GREY[:60], append=True)
    for name, message in {
        "text.tif": "is not a TIFF",
        "empty.tif": "the file is empty (0 bytes)",
        "cut.tif": "incomplete",
        "mixed.tif": "images of different kinds",
        "gone.tif": "no such file or folder",
    }.items():
        said = refused(open_pictures, url / name, 2)
        assert said.startswith(f"{remote.shown(url / name)}: ")
        assert message in said
    with memory_limit(2**14):
        assert "a tile or strip needs" in refused(open_pictures, url / "tiled.tif", 2)


def test_a_tile_of_more_bytes_than_it_can_have_is_refused(served):
    folder, url, _ = served
    path = folder / "claims.tif"
    path.write_bytes((folder / "tiled.tif").read_bytes() + bytes(2**21))
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[0].tags["TileByteCounts"]
        counts = list(tag.value)
        counts[0] = 2**21
        tag.overwrite(counts)
    for place in (url, folder):
        assert f"a tile or strip has {2**21} bytes" in refused(open_pictures, place / "claims.tif", 2, None, 0)


def test_a_tiff_of_an_object_store_is_read_likewise(served):
    bucket = Path("memory://tiffs")
    remote.write(bucket / "tiled.tif", (served[0] / "tiled.tif").read_bytes())
    try:
        [far] = open_pictures(bucket / "tiled.tif", 2)
        np.testing.assert_array_equal(far[WINDOW][..., 0], GREY[WINDOW])
    finally:
        remote.remove(bucket)
