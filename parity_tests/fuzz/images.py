"""PNG, JPEG, TIFF and npy: fields of their headers, chunks, segments and directories, and small files that grow."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from . import bytes_
from .bytes_ import CONTROLS, SIZES, Change, pick

_PNG = b"\x89PNG\r\n\x1a\n"


def png(rng: np.random.Generator, data: bytes) -> Change:
    """A PNG: chunks with right check sums, most of the time."""
    if rng.random() < 0.3:
        return bytes_.change(rng, data)
    chunks = png_chunks(data)
    what = pick(rng, ("header", "header", "drop", "double", "swap", "chunk", "text", "palette", "growth", "frames"))
    at = int(rng.integers(len(chunks)))
    if what == "header":
        width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
        field = int(rng.integers(6))
        if field == 0:
            width = pick(rng, SIZES)
        elif field == 1:
            height = pick(rng, SIZES)
        elif field == 2:
            width = height = pick(rng, SIZES)
        else:
            rest[(0, 1, 4)[field - 3]] = pick(rng, (0, 1, 2, 3, 4, 6, 8, 16, 32, 255))
        chunks[0] = (b"IHDR", struct.pack(">IIBBBBB", width, height, *rest))
    elif what == "drop":
        del chunks[at]
    elif what == "double":
        chunks.insert(at, chunks[at])
    elif what == "swap":
        other = int(rng.integers(len(chunks)))
        chunks[at], chunks[other] = chunks[other], chunks[at]
    elif what == "chunk":
        name, content = chunks[at]
        chunks[at] = (name, bytes_.change(rng, content)[1])
    elif what == "text":
        text = pick(rng, CONTROLS).encode("utf-8", "surrogatepass")
        packed = zlib.compress(b"a" * int(pick(rng, (10, 10**6, 5 * 10**7))))
        pieces = ((b"tEXt", b"k\0" + text), (b"zTXt", b"k\0\0" + packed), (b"iCCP", b"n\0\0" + packed),
                  (b"eXIf", b"II*\0" + rng.bytes(40)), (b"tRNS", rng.bytes(int(rng.integers(300)))),
                  (b"iTXt", b"k\0\1\0\0\0" + packed), (text[:4].ljust(4, b"a"), b""))  # fmt: skip
        chunks.insert(1, pick(rng, pieces))
    elif what == "palette":
        chunks[0] = (b"IHDR", chunks[0][1][:9] + b"\3" + chunks[0][1][10:])
        chunks.insert(1, (b"PLTE", rng.bytes(int(pick(rng, (0, 1, 3, 6, 768, 771))))))
    elif what == "growth":
        side, depth = int(pick(rng, (20_000, 30_000, 46_000))), int(pick(rng, (1, 8)))
        row = zlib.compressobj(9)
        line = bytes(1 + side * depth // 8)
        packed = b"".join(row.compress(line) for _ in range(side if depth == 1 else 200)) + row.flush()
        head = struct.pack(">IIBBBBB", side, side, depth, 0, 0, 0, 0)
        chunks = [(b"IHDR", head), (b"IDAT", packed), (b"IEND", b"")]
    else:
        chunks.insert(1, (b"acTL", struct.pack(">II", pick(rng, SIZES), 0)))
    sums = rng.random() < 0.9
    return what, _PNG + b"".join(_chunk(name, content, sums) for name, content in chunks)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], len(_PNG)
    while at + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _chunk(name: bytes, content: bytes, right: bool) -> bytes:
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ (not right))
    )


def jpeg(rng: np.random.Generator, data: bytes) -> Change:
    """A JPEG: its segments, the size in its frame header, metadata."""
    if rng.random() < 0.4:
        return bytes_.change(rng, data)
    segments, at = [], 2
    while at + 4 <= len(data) and data[at + 1] != 0xDA:
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        segments.append(bytearray(data[at : at + 2 + length]))
        at += 2 + length
    rest, i = data[at:], int(rng.integers(len(segments)))
    what = pick(rng, ("size", "drop", "double", "segment", "exif", "length", "precision"))
    frame = next((s for s in segments if s[1] in (0xC0, 0xC1, 0xC2)), segments[0])
    if what == "size":
        frame[5:9] = struct.pack(">HH", pick(rng, SIZES) % 65536, pick(rng, SIZES) % 65536)
    elif what == "precision":
        frame[4] = pick(rng, (0, 1, 12, 16, 255))
        frame[1] = pick(rng, (0xC0, 0xC2, 0xC3, 0xC9))
    elif what == "drop":
        del segments[i]
    elif what == "double":
        segments.insert(i, segments[i])
    elif what == "segment":
        segments[i] = bytearray(bytes(segments[i][:4]) + bytes_.flipped(rng, bytes(segments[i][4:]))[1])
    elif what == "exif":
        entry = struct.pack("<HHII", 274, 3, pick(rng, (1, 2, 2**31)), pick(rng, (0, 3, 6, 8, 9, 2**16)))
        body = b"Exif\0\0II*\0\x08\0\0\0\1\0" + entry + b"\0\0\0\0"
        segments.insert(0, bytearray(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body))
    else:
        segments[i][2:4] = struct.pack(">H", pick(rng, (0, 1, 2, 65535)))
    return what, data[:2] + b"".join(map(bytes, segments)) + rest


_TAGS = (254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 296, 305, 317, 320, 322, 323, 324,
         325, 330, 338, 339, 347, 530, 532, 32997, 33550, 33922, 34735, 42113, 50838, 50839, 65000)  # fmt: skip


def tiff(rng: np.random.Generator, data: bytes) -> Change:
    """A TIFF: entries of its directories, their order, where they point."""
    if rng.random() < 0.3 or data[:2] not in (b"II", b"MM"):
        return bytes_.change(rng, data)
    if rng.random() < 0.1:
        return "claims", claiming(rng)
    order, big = "<" if data[:2] == b"II" else ">", data[2:4] in (b"+\0", b"\0+")
    entry, count = (order + "HHQ8s", order + "Q") if big else (order + "HHI4s", order + "H")
    size, array = struct.calcsize(entry), bytearray(data)
    found, at = [], struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    while at and at + 8 < len(data) and len(found) < 500:
        n = struct.unpack_from(count, data, at)[0]
        first = at + struct.calcsize(count)
        found += [first + i * size for i in range(n) if first + (i + 1) * size <= len(data)]
        at = first + n * size
        link, at = at, struct.unpack_from(order + ("Q" if big else "I"), data.ljust(at + 8, b"\0"), at)[0]
        if rng.random() < 0.05:
            array[link : link + 4] = struct.pack(order + "I", pick(rng, (8, 16, first - 2, 2**31, len(data))) % 2**32)
            return "next directory", bytes(array)
    place = pick(rng, found)
    tag, kind, n, content = struct.unpack_from(entry, data, place)
    what = pick(rng, ("value", "value", "value", "tag", "type", "count"))
    if what == "value":
        content = struct.pack(order + "I", pick(rng, (*SIZES, 3, 4, 5, 6, 7, 8, 32773, 34925, 50000)))
        content = content.rjust(len(content), b"\0").ljust(8 if big else 4, b"\0")
        if kind == 3 and order == ">":
            content = struct.pack(">HH", pick(rng, SIZES) % 65536, 0).ljust(len(content), b"\0")
    elif what == "tag":
        tag = pick(rng, _TAGS)
    elif what == "type":
        kind = pick(rng, (0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 99))
    else:
        n = pick(rng, SIZES)
    struct.pack_into(entry, array, place, tag, kind, n, content)
    return f"{what} of tag {tag}", bytes(array)


def claiming(rng: np.random.Generator) -> bytes:
    """A TIFF with nothing but holes, of a size that its header makes up."""
    import tifffile

    side = int(pick(rng, (5000, 28_672, 60_000)))
    stream = io.BytesIO()
    options: dict = {"tile": (512, 512)} if rng.random() < 0.5 else {"rowsperstrip": 256}
    dtype = pick(rng, (np.uint8, np.uint16, np.float64))
    with tifffile.TiffWriter(stream, bigtiff=bool(rng.random() < 0.3)) as writer:
        writer.write(
            np.zeros((512, 512), dtype), photometric="minisblack", compression="zlib", metadata=None, **options
        )
    data = bytearray(stream.getvalue())
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        page = file.pages.first
        for tag in (256, 257):
            found = page.tags[tag]
            place = found.valueoffset
            data[place : place + 4] = struct.pack(file.byteorder + "I", side)[: 4 if found.dtype == 4 else 2].ljust(
                4, b"\0"
            )
    return bytes(data)


def npy(rng: np.random.Generator, data: bytes) -> Change:
    """A .npy: the text of its header."""
    if rng.random() < 0.35:
        return bytes_.change(rng, data)
    start = data.index(b"\n") + 1
    shape = pick(rng, ("()", "(0,)", "(-1, 4)", "(4, -4)", "(10000000000, 10)", "(2**3,)", "(1e3,)", "(4)", "[4, 4]",
                       "(9223372036854775807, 2)", "(65536, 65536)", "(200000000, 1, 1)", "(1,)*40", "(True, True)",
                       "('a',)", "(48, 40, 1, 1, 1)", "(1" + "0" * 5000 + ",)"))  # fmt: skip
    descr = pick(rng, ("'|O'", "'|V8'", "'<U9'", "'<c16'", "'>f4'", "'|b1'", "'<f16'", "'<M8[s]'", "'<u8'", "'|S0'",
                       "[('a', '<u1')]", "'x'", "None", "1", "'<f2'",
                       "'\\x1b[31m'", "'|u1\\n'", "('<u1', (2,))"))  # fmt: skip
    what = pick(rng, ("shape", "dtype", "order", "text", "deep", "version"))
    order, version = "False", b"\1\0"
    if what != "shape":
        shape = "(48, 40)"
    if what != "dtype":
        descr = "'|u1'"
    if what == "order":
        order = pick(rng, ("True", "1", "None", "'x'"))
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if what == "text":
        text = pick(
            rng, ("{}", "", "__import__('os').system('touch escaped')", text[:-1], text + text, "\x1b[31m", "[1]")
        )
    elif what == "deep":
        text = "(" * int(pick(rng, (50, 200, 9000))) + "1"
    elif what == "version":
        version = pick(rng, (b"\2\0", b"\3\0", b"\4\0", b"\0\0"))
    body = (text + "\n").encode()
    length = struct.pack("<H" if version == b"\1\0" else "<I", len(body) % 65536 if version == b"\1\0" else len(body))
    return what, b"\x93NUMPY" + version + length + body + data[start:]
