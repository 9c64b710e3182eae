"""A zarr store for a folder or a URL that checks chunks before zarr reads and decompresses them.

The decompressed size of a chunk is read from its first bytes (zstd, blosc, lz4) or counted by decompressing it without
storing the result (gzip, bz2, lzma). It may not be much larger than the metadata state. A chunk must be a regular file,
not a link to a device. No more bytes of a remote chunk are requested than a chunk may have.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from unet_spec.errors import InputError

from ..budget import check_memory
from .remote import reported, shown, url_of, zarr_store

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_MAX_METADATA = 2**24
_SLACK = 2**20
_STEP = 2**20
_DEFLATE = 1040

CACHE = 2**26
"""Maximum bytes of remote chunks, compressed, that a process keeps: windows side by side share chunks."""


class RecentChunks:
    """The remote chunks that were read last, of all open stores."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self.size, self._lock = 0, threading.Lock()

    def get(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def add(self, key: tuple[Any, ...], chunk: Any) -> None:
        with self._lock:
            if key in self._found or len(chunk) > CACHE:
                return
            self._found[key] = chunk
            self.size += len(chunk)
            while self.size > CACHE:
                self.size -= len(self._found.popitem(last=False)[1])


recent = RecentChunks()


@dataclass(frozen=True)
class Chunks:
    """Sizes of an array: bytes of a chunk and of a shard, the chunks' compressor ("" if none), chunks per shard."""

    chunk: int
    shard: int
    codec: str
    count: int | None

    @classmethod
    def of(cls, array: Any, where: Path) -> Chunks:
        """The sizes of an open array. Raises InputError if its codecs compress twice."""
        names, count = _codecs(array.metadata), None
        if "sharding_indexed" in names:
            inner = next(c for c in array.metadata.codecs if type(c).__name__ == "ShardingCodec")
            names = [_name(c) for c in inner.codecs]
            count = prod(s // c for s, c in zip(array.shards or array.chunks, array.chunks, strict=True))
        packing = [name for name in names if name in EXPANDED]
        if len(packing) > 1 or "sharding_indexed" in names:
            raise InputError(
                f"{shown(where)}: is compressed more than once ({', '.join(names)}); save it with one compressor"
            )
        size = array.dtype.itemsize
        return cls(prod(array.chunks) * size, prod(array.shards or array.chunks) * size, (packing or [""])[0], count)

    @property
    def most(self) -> int:
        """Maximum bytes of the file of a shard."""
        return 2 * self.shard + _SLACK

    def check(self, path: Path, size: int) -> None:
        """Refuses a file of `size` bytes before it is read."""
        if size > self.most:
            raise InputError(f"{shown(path)}: a chunk of {self.shard} bytes is a file of {size} bytes; it is damaged")
        check_memory(path, 2 * self.shard, size, "a chunk needs")

    def check_content(self, path: Path, data: bytes, whole: bool) -> None:
        """Refuses content that decompresses to much more than a chunk."""
        parts = [data]
        if self.count is not None and whole:
            index = data[-16 * self.count - 4 : -4] if len(data) >= 16 * self.count + 4 else b""
            places = list(struct.iter_unpack("<QQ", index))
            parts = [data[at : at + n] for at, n in places if at + n <= len(data)]
        for part in parts:
            found = EXPANDED[self.codec](part, self.chunk) if self.codec else 0
            if found > 2 * self.chunk + _SLACK:
                raise InputError(
                    f"{shown(path)}: a chunk of {self.chunk} bytes unpacks to {found} or more; it is damaged"
                )


def _codecs(metadata: Any) -> list[str]:
    if metadata.zarr_format == 3:
        return [_name(codec) for codec in metadata.codecs]
    return [_name(c) for c in (*(metadata.filters or ()), metadata.compressor) if c is not None]


def _name(codec: Any) -> str:
    name = getattr(codec, "codec_id", None) or codec.to_dict()["name"]
    return str(name).removeprefix("numcodecs.")


def _check_regular(path: Path, most: int | None = None) -> int | None:
    """The size of a file; None if it does not exist. Raises InputError if it is not a regular file, or too large."""
    if not path.is_symlink() and (not path.exists() or path.is_dir()):
        return None
    if not path.is_file():
        raise InputError(f"{path}: is not a regular file, or a link to nothing")
    size = path.stat().st_size
    if most is not None and size > most:
        raise InputError(f"{path}: holds {size} bytes, too many for metadata")
    return size


def guarded(folder: Path) -> Any:
    """A read-only zarr store for a folder or a URL."""
    from zarr.abc.store import RangeByteRequest
    from zarr.storage import LocalStore, WrapperStore

    remote, opened = url_of(folder) is not None, object()  # a store that is opened again finds changed chunks

    class Guarded(WrapperStore):
        chunks: Chunks | None = None
        problem: InputError | None = None

        async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
            path = folder / key
            if self.chunks is None or path.name in METADATA:
                if remote:
                    found = await super().get(key, prototype, byte_range or RangeByteRequest(0, _MAX_METADATA + 1))
                    if found is not None and len(found) > _MAX_METADATA:
                        raise InputError(f"{shown(path)}: holds too many bytes for metadata")
                    return found
                _check_regular(path, _MAX_METADATA)
                return await super().get(key, prototype, byte_range)
            try:  # an error raised here would leave the tasks of other chunks, about which asyncio complains
                return await self._chunk(path, key, prototype, byte_range)
            except InputError as e:
                self.problem = e
                return None

        async def _chunk(self, path: Path, key: str, prototype: Any, byte_range: Any) -> Any:
            assert self.chunks is not None
            place = (opened, key, byte_range)
            if remote and (kept := recent.get(place)) is not None:
                return kept
            requested = byte_range
            if remote and byte_range is None:
                requested = RangeByteRequest(0, self.chunks.most + 1)
            elif not remote and (size := _check_regular(path)) is not None:
                self.chunks.check(path, size)
            found = await super().get(key, prototype, requested)
            if found is not None:
                if remote:
                    self.chunks.check(path, len(found))
                if type(byte_range).__name__ != "SuffixByteRequest":
                    self.chunks.check_content(path, found.to_bytes(), byte_range is None)
                if remote:
                    recent.add(place, found)
            return found

        def reader(self, array: Any) -> Callable[[Any], Any]:
            """A function that reads windows of an array. It raises InputError for a refused chunk."""
            self.chunks = Chunks.of(array, folder)

            def read(window: Any) -> Any:
                with reported(folder) if remote else nullcontext():
                    values = array[window]
                if self.problem is not None:
                    raise self.problem
                return values

            return read

    return Guarded(zarr_store(folder, True) if remote else LocalStore(folder, read_only=True))


def _zstd(data: bytes, most: int) -> int:
    """Decompressed bytes of zstd frames, from their headers, or from their blocks if a header has no size."""
    total, at = 0, 0
    while at + 5 <= len(data):
        magic, descriptor = struct.unpack_from("<IB", data, at)
        if magic & 0xFFFFFFF0 == 0x184D2A50:
            at += 8 + struct.unpack_from("<I", data.ljust(at + 8, b"\0"), at + 4)[0]
            continue
        if magic != 0xFD2FB528:
            break
        single, code = descriptor >> 5 & 1, descriptor >> 6
        at += 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
        length = (single, 2, 4, 8)[code]
        claimed = int.from_bytes(data[at : at + length], "little") + (256 if code == 1 else 0)
        at += length
        blocks, last = 0, False
        while not last and at + 3 <= len(data) and blocks <= 2 * most + _SLACK:
            block = int.from_bytes(data[at : at + 3], "little")
            last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            blocks += 2**17 if kind == 2 else size
            at += 3 + (1 if kind == 1 else size)
        total += claimed if length else blocks
        at += 4 * (descriptor >> 2 & 1)
        if total > 2 * most + _SLACK:
            break
    return total


def _deflate(data: bytes, most: int) -> int:
    if len(data) * _DEFLATE <= 2 * most + _SLACK:
        return 0
    return _counted(lambda: zlib.decompressobj(47), data, most)


def _counted(decompressor: Callable[[], Any], data: bytes, most: int) -> int:
    """Decompressed bytes, counted up to about twice `most`; for damaged data, those before the damage."""
    total = 0
    try:
        while data:
            unpacker = decompressor()
            while data and not unpacker.eof:
                total += len(unpacker.decompress(data, _STEP))
                data = getattr(unpacker, "unconsumed_tail", b"")
                while not data and not unpacker.eof and not getattr(unpacker, "needs_input", True):
                    total += len(unpacker.decompress(b"", _STEP))
                    if total > 2 * most + _SLACK:
                        return total
                if total > 2 * most + _SLACK:
                    return total
            data = unpacker.unused_data
    except (zlib.error, OSError, EOFError, lzma.LZMAError):
        pass
    return total


def _first(form: str, at: int) -> Callable[[bytes, int], int]:
    def claimed(data: bytes, most: int) -> int:
        return struct.unpack_from(form, data, at)[0] if len(data) >= at + 4 else 0

    return claimed


EXPANDED: dict[str, Callable[[bytes, int], int]] = {
    "zstd": _zstd,
    "gzip": _deflate,
    "zlib": _deflate,
    "blosc": _first("<I", 4),
    "lz4": _first("<I", 0),
    "bz2": lambda data, most: _counted(bz2.BZ2Decompressor, data, most),
    "lzma": lambda data, most: _counted(lambda: lzma.LZMADecompressor(memlimit=2**28), data, most),
}
"""By codec name: a function of (data, chunk size) to the decompressed size, exact only if it is not too large."""
