"""Chunks of zarr that unpack to more than they say, or are no files."""

import bz2
import gzip
import json
import lzma
import struct
import zlib

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed")
from unet_data import open_pictures
from unet_data.io.budget import memory_limit
from unet_data.io.stores import guarded
from unet_data.io.stores.guarded import EXPANDED, Chunks, RecentChunks

from ..helpers import refused

SIDE = 32
CHUNK = SIDE * SIDE
LARGE = 2**24


def frames(size: int, says: bool) -> bytes:
    """zstd: `size` zero bytes as repeated blocks; with or without the frame's size in its header."""
    n = size // 2**17
    head = b"\xe0" + struct.pack("<Q", n * 2**17) if says else b"\x00\x58"
    blocks = b"".join(struct.pack("<I", (2**17 << 3) | 2 | (i == n - 1))[:3] + b"\0" for i in range(n))
    return struct.pack("<I", 0xFD2FB528) + head + blocks


PACKED = {
    "zstd": lambda n: frames(n, True),
    "gzip": lambda n: gzip.compress(bytes(n)),
    "zlib": lambda n: zlib.compress(bytes(n)),
    "bz2": lambda n: bz2.compress(bytes(n)),
    "lzma": lambda n: lzma.compress(bytes(n)),
    "lz4": lambda n: struct.pack("<I", n) + bytes(20),
    "blosc": lambda n: struct.pack("<BBBBIII", 2, 1, 2, 1, n, n, 16),
}


def array(folder, **options):
    values = np.arange(SIDE * 2 * SIDE).reshape(SIDE, 2 * SIDE).astype(np.uint8)
    made = zarr.create_array(folder, shape=values.shape, dtype=values.dtype, **({"chunks": (SIDE, SIDE)} | options))
    made[...] = values
    return values


def read(folder):
    return open_pictures(folder, 2, 1)[0][:SIDE, : 2 * SIDE][..., 0]


@pytest.mark.parametrize("codec", PACKED)
def test_every_codec_says_or_is_counted(codec):
    """More than twice a chunk and a MiB is noticed; less passes."""
    assert EXPANDED[codec](PACKED[codec](LARGE), CHUNK) > 2 * CHUNK + 2**20
    assert EXPANDED[codec](PACKED[codec](2**17), 2**17) <= 2 * 2**17 + 2**20
    assert EXPANDED[codec](b"", CHUNK) == 0
    assert EXPANDED[codec](b"damaged", CHUNK) < 2**32


def test_a_zstd_frame_that_does_not_say_its_size_is_counted_by_blocks():
    assert EXPANDED["zstd"](frames(LARGE, False), CHUNK) > 2 * CHUNK + 2**20
    assert EXPANDED["zstd"](frames(2**17, False), 2**17) == 2**17


@pytest.mark.parametrize("name", ["v2", "v3", "shards", "shard"])
@pytest.mark.parametrize("codec", ["zstd", "gzip"])
def test_a_chunk_that_unpacks_to_far_more_is_refused(tmp_path, name, codec):
    packer = {"zstd": zarr.codecs.ZstdCodec(), "gzip": zarr.codecs.GzipCodec()}[codec]
    options = {"compressors": packer}
    if name == "v2":
        import numcodecs

        options = {"zarr_format": 2, "compressors": {"zstd": numcodecs.Zstd(), "gzip": numcodecs.GZip()}[codec]}
    if name.startswith("shard"):
        options |= {"shards": (SIDE, 2 * SIDE)}
    folder = tmp_path / "a.zarr"
    values = array(folder, **options)
    np.testing.assert_array_equal(read(folder), values)
    chunk = next(p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".json" and p.name[0] != ".")
    bomb = frames(LARGE, True) if codec == "zstd" else gzip.compress(bytes(LARGE))
    if name.startswith("shard"):
        from google_crc32c import value as crc

        index = struct.pack("<QQQQ", 0, len(bomb), 2**64 - 1, 2**64 - 1)
        bomb += index + struct.pack("<I", crc(index))
    chunk.write_bytes(bomb)
    if name == "shard":  # a part of the shard, which is read by itself
        assert "unpacks to" in refused(open_pictures(folder, 2, 1)[0].__getitem__, (slice(0, 4), slice(0, 4)))
    else:
        assert "unpacks to" in refused(read, folder)


def test_what_is_no_regular_file_is_refused(tmp_path):
    array(tmp_path / "a.zarr", compressors=None)
    chunk = tmp_path / "a.zarr/c/0/0"
    chunk.unlink()
    for target in ("/dev/zero", "nowhere"):
        chunk.symlink_to(target)
        assert "not a regular file" in refused(read, tmp_path / "a.zarr")
        chunk.unlink()
    chunk.write_bytes(bytes(2 * CHUNK + 2**20 + 1))
    assert f"a chunk of {CHUNK} bytes is a file of" in refused(read, tmp_path / "a.zarr")


def test_a_chunk_has_to_fit_into_the_memory(tmp_path):
    values = array(tmp_path / "a.zarr")
    with memory_limit(2 * CHUNK - 1):
        assert "a chunk needs" in refused(read, tmp_path / "a.zarr")
    with memory_limit(2 * CHUNK):
        np.testing.assert_array_equal(read(tmp_path / "a.zarr"), values)


def test_packed_twice_is_refused(tmp_path):
    array(tmp_path / "a.zarr", compressors=[zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()])
    assert "compressed more than once (bytes, gzip, zstd)" in refused(read, tmp_path / "a.zarr")


def test_metadata_of_no_end_is_refused(tmp_path):
    array(tmp_path / "a.zarr")
    path = tmp_path / "a.zarr/zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text())) + " " * (2**24))
    assert "too many for metadata" in refused(read, tmp_path / "a.zarr")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 300, 65535, 65791, 65792, 2**20])
@pytest.mark.parametrize("checksum", [False, True])
def test_the_size_in_the_header_of_a_zstd_frame_is_read_as_zstd_writes_it(size, checksum):
    """One, two, four or eight bytes; of two bytes, 256 is subtracted (RFC 8878, 3.1.1.1.4)."""
    numcodecs = pytest.importorskip("numcodecs", reason="numcodecs is not installed; pip install 'unet-twins[zarr]'")
    packed = bytes(numcodecs.Zstd(checksum=checksum).encode(bytes(size)))
    assert EXPANDED["zstd"](packed, CHUNK) == size
    skipped = struct.pack("<II", 0x184D2A53, 5) + bytes(5)
    assert EXPANDED["zstd"](packed + skipped + packed, 2**21) == 2 * size
    assert EXPANDED["zstd"](skipped + packed + b"no frame", 2**21) == size


SIZES = Chunks(1000, 4000, "", 4)


def test_the_file_of_a_chunk_has_at_most_twice_its_bytes_and_a_mebibyte(tmp_path):
    assert SIZES.most == 2 * 4000 + 2**20
    SIZES.check(tmp_path, SIZES.most)
    assert "a chunk of 4000 bytes is a file of 1056577 bytes" in refused(SIZES.check, tmp_path, SIZES.most + 1)


@pytest.mark.parametrize(("more", "whole"), [(0, False), (1, False), (0, True), (1, True)])
def test_content_has_at_most_twice_the_bytes_of_a_chunk_and_a_mebibyte(tmp_path, more, whole):
    claimed = 2 * 1000 + 2**20 + more
    content = struct.pack("<I", claimed)
    if whole:  # the second of two chunks, by the index at the end of the shard
        content = b"\0" * 7 + content + struct.pack("<QQQQ", 0, 4, 7, 4) + b"crc."
    sizes = Chunks(1000, 2000, "lz4", 2)
    if more:
        message = refused(sizes.check_content, tmp_path, content, whole)
        assert f"a chunk of 1000 bytes unpacks to {claimed} or more" in message
    else:
        sizes.check_content(tmp_path, content, whole)
    Chunks(1000, 2000, "", 2).check_content(tmp_path, content, whole)  # not compressed
    sizes.check_content(tmp_path, b"short", True)


def test_recent_chunks_stay_while_there_is_room(monkeypatch):
    assert guarded.CACHE == 2**26
    monkeypatch.setattr(guarded, "CACHE", 10)
    kept = RecentChunks()
    for number, size in enumerate((4, 4, 2)):
        kept.add(number, bytes(size))
    kept.add(0, bytes(3))  # is there
    kept.add(7, bytes(11))  # larger than all the room
    assert (kept.size, kept.get(7), len(kept.get(0))) == (10, None, 4)
    kept.add(3, bytes(1))  # in place of 1, since 0 was used after it
    assert [number for number in range(4) if kept.get(number) is not None] == [0, 2, 3]
    assert kept.size == 7
