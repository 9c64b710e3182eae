"""Reads ranges of bytes of a remote file, without the rest of it."""

from __future__ import annotations

import io
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unet_spec.errors import InputError

from .remote import filesystem, reported, shown

BLOCK = 2**16
"""Bytes of a block, the unit in which headers are read."""

CACHE = 2**23
"""Maximum bytes of blocks that are kept, and of one request for ranges that follow each other."""

MOST_HEADER = 2**30
"""Maximum bytes of a part of a header. A larger size is from a damaged field."""


class RemoteFile(io.RawIOBase):
    """A remote file as a seekable file, for libraries that parse headers; it reads and keeps whole blocks.

    Pixels are read by `ranges`, which requests exactly their bytes. Thread-safe, except for `seek` and `read`.

    Attributes:
        local: None, since the file cannot be mapped into memory.
        size: bytes of the file.

    Raises:
        InputError: the file does not exist or is empty, or its server sends only whole files.
    """

    local: Path | None = None

    def __init__(self, path: Path):
        super().__init__()
        self.name, self._path, self._position = shown(path), path, 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        with reported(path):
            self._fs, self._root = filesystem(path)
            self._file: Any = self._fs.open(self._root, "rb", block_size=BLOCK, cache_type="none")
            found = self._fs.info(self._root).get("size")
            if found == 0:
                raise InputError(f"{self.name}: the file is empty (0 bytes); replace it with a complete copy")
            self.size = int(found or 0)
        try:  # such a server is detected by a range that does not begin at 0
            probe = self._fetch(self.size - 1, 1) if self.size else b""
        except ValueError:
            probe = b""
        if len(probe) != 1:
            raise InputError(
                f"{self.name}: its server sends only whole files, not ranges of bytes; download the file, or serve it "
                "from an object store"
            )

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative position {start + offset}")
        self._position = start + offset
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """At most the bytes that the file has, so that a damaged size allocates nothing."""
        left = max(0, self.size - self._position)
        count = left if size < 0 else min(size, left)
        if count > MOST_HEADER:
            raise InputError(f"{self.name}: is damaged: a part of its header has {count} bytes")
        return super().read(count) or b""

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        at, done = self._position, 0
        if (count := min(len(view), self.size - at)) > 4 * BLOCK:
            view[:count] = self.ranges([(at, count)])[0]
            self._position, done = at + count, count
            return done
        while done < len(view) and at < self.size:
            part = self._block(at // BLOCK)[at % BLOCK :][: len(view) - done]
            view[done : done + len(part)] = part
            at, done = at + len(part), done + len(part)
        self._position = at
        return done

    def ranges(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of ranges (offset, count), requested together.

        Raises:
            InputError: the server does not answer, or sends fewer bytes.
        """
        joined: list[list[int]] = []
        for offset, count in sorted(set(wanted)):
            if joined and joined[-1][1] == offset and offset + count - joined[-1][0] <= CACHE:
                joined[-1][1] = offset + count
            else:
                joined.append([offset, offset + count])
        starts, ends = ([each[side] for each in joined] for side in (0, 1))
        with reported(self._path):
            found = self._fs.cat_ranges([self._root] * len(joined), starts, ends, on_error="raise")
        if any(len(data) != end - start for data, start, end in zip(found, starts, ends, strict=True)):
            raise InputError(f"{self.name}: its server sent fewer bytes than requested; try again")
        parts = []
        for offset, count in wanted:
            number = bisect_right(starts, offset) - 1
            first = offset - starts[number]
            parts.append(found[number][first : first + count])
        return parts

    def _block(self, number: int) -> bytes:
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
        first = number * BLOCK
        with reported(self._path):
            block = self._fetch(first, min(BLOCK, self.size - first))
        if len(block) != min(BLOCK, self.size - first):
            raise InputError(f"{self.name}: its server sent fewer bytes than requested; try again")
        with self._lock:
            self._blocks[number] = block
            while len(self._blocks) * BLOCK > CACHE:
                self._blocks.popitem(last=False)
        return block

    def _fetch(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.seek(offset)
            return self._file.read(count)
