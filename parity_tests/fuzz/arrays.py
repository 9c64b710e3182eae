"""Folders of zarr arrays and NIfTI files: metadata, chunks, links, headers, and small files that grow."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import bytes_, json_
from .bytes_ import CONTROLS, SIZES, Change, pick

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup")


def zarr(rng: np.random.Generator, folder: Path) -> str:
    """Changes a zarr folder where it lies."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    texts = [p for p in files if p.name in METADATA]
    chunks = [p for p in files if p.name not in METADATA]
    what = pick(rng, ("metadata", "metadata", "metadata", "shape", "chunk", "bomb", "link", "lost", "size", "name"))
    if what == "metadata":
        path = pick(rng, texts)
        done, content = json_.change(rng, path.read_bytes())
        path.write_bytes(content)
        return f"{path.name}: {done}"
    if what == "shape":
        path = pick(rng, [p for p in texts if b'"shape"' in p.read_bytes()])
        return f"{path.name}: {_shape(rng, path)}"
    path = pick(rng, chunks)
    if what == "chunk":
        done, content = bytes_.change(rng, path.read_bytes())
        path.write_bytes(content)
        return f"chunk {done}"
    if what == "bomb":
        path.write_bytes(pick(rng, BOMBS)())
    elif what == "size":
        path.write_bytes(b"")
        os.truncate(path, int(pick(rng, (1, 2**20, 2**31, 2**33))))
    elif what == "lost":
        path.unlink()
    elif what == "name":
        path.rename(path.with_name(pick(rng, ("0.0.0", "-1", "a\x1b[31m", "99"))))
    else:
        path = pick(rng, files)
        path.unlink()
        path.symlink_to(pick(rng, ("/dev/zero", "/dev/null", "/etc/hostname", path.name, "..", "/proc/self/mem")))
    return what


def _shape(rng: np.random.Generator, path: Path) -> str:
    values = json.loads(path.read_bytes())
    key = "chunks"
    if rng.random() < 0.5:
        key = "shape"
    pages = pick(rng, (200_000_000, 10**12, 50_000))
    dims = len(values["shape"])
    many = pick(
        rng,
        (
            [pages] + [4] * (dims - 1),
            [pages, 4, 4],
            [10**9] * dims,
            [40_000] * dims,
            [2**62] * dims,
            [1] * 40,
            [0] * dims,
        ),
    )
    if key == "shape":
        values["shape"] = many
    chunks = (
        [1, 4, 4] if key == "shape" and len(many) == 3 else many if key == "chunks" else [min(n, 512) for n in many]
    )
    if "chunks" in values:
        values["chunks"] = chunks
    else:
        values["chunk_grid"]["configuration"]["chunk_shape"] = chunks
    path.write_text(json.dumps(values))
    return f"{key} {many}"[:60]


def zstd_bomb() -> bytes:
    """8 GiB in 256 KiB: one frame of repeated bytes that says its size."""
    n = 2**33 // 131072
    blocks = b"".join(struct.pack("<I", (131072 << 3) | 2 | (i == n - 1))[:3] + b"\0" for i in range(n))
    return struct.pack("<I", 0xFD2FB528) + b"\xe0" + struct.pack("<Q", n * 131072) + blocks


def zstd_silent_bomb() -> bytes:
    """The same without its size."""
    n = 2**33 // 131072
    blocks = b"".join(struct.pack("<I", (131072 << 3) | 2 | (i == n - 1))[:3] + b"\0" for i in range(n))
    return struct.pack("<I", 0xFD2FB528) + b"\x00\x58" + blocks


def zlib_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(2**24)
    return b"".join(packer.compress(zeros) for _ in range(192)) + packer.flush()


def blosc_bomb() -> bytes:
    return struct.pack("<BBBBIII", 2, 1, 2, 1, 2**31 - 32, 2**31 - 32, 16)


BOMBS: tuple[Callable[[], bytes], ...] = (zstd_bomb, zstd_silent_bomb, zlib_bomb, blosc_bomb)

_FIELDS = {
    "dim": [(40 + 2 * i, "<h") for i in range(8)], "datatype": [(70, "<h")], "bitpix": [(72, "<h")],
    "zoom": [(76 + 4 * i, "<f") for i in range(5)], "offset": [(108, "<f")], "slope": [(112, "<f"), (116, "<f")],
    "units": [(123, "<B")], "form": [(252, "<h"), (254, "<h")], "affine": [(280 + 4 * i, "<f") for i in range(12)],
    "quaternion": [(256 + 4 * i, "<f") for i in range(6)], "magic": [(344, "<I")], "size": [(0, "<i")],
    "extension": [(348, "<I"), (352, "<I"), (356, "<I")], "text": [(148, "<I")],
}  # fmt: skip


def nifti(rng: np.random.Generator, data: bytes) -> Change:
    """A NIfTI file, as it is or in gzip: fields of its header."""
    packed = data[:2] == b"\x1f\x8b"
    if rng.random() < 0.25:
        return bytes_.change(rng, data)
    array = bytearray(gzip.decompress(data) if packed else data)
    what = pick(rng, (*_FIELDS, "voxels", "growth" if packed else "zoom"))
    if what == "voxels":
        kind, content = bytes_.change(rng, bytes(array[352:]))
        what, array = f"voxels {kind}".replace("!", ""), array[:352] + bytearray(content)
    elif what == "growth":
        struct.pack_into("<8h", array, 40, 3, 1290, 1290, 1290, 1, 1, 1, 1)
        packer = zlib.compressobj(9, wbits=31)
        zeros = bytes(2**24)
        head = packer.compress(bytes(array[:352]))
        return "growth", head + b"".join(packer.compress(zeros) for _ in range(130)) + packer.flush()
    else:
        place, kind = pick(rng, _FIELDS[what])
        numbers = (
            (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), 1e-3, 5e-4, 352.5, -352.0, 1e9)
            if kind == "<f"
            else SIZES
        )
        number = pick(rng, (*numbers, 3, 5, 7, -1, 32767)) if kind != "<f" else pick(rng, numbers)
        if kind != "<f":
            bits = 8 * struct.calcsize(kind)
            number = int(number) % 2**bits
            kind = kind.upper()
        struct.pack_into(kind, array, place, number)
        if what == "text":
            array[148:228] = pick(rng, CONTROLS).encode("utf-8", "surrogatepass")[:80].ljust(80, b"\0")
    return what, gzip.compress(bytes(array), 1) if packed else bytes(array)


def copied(source: Path, target: Path) -> None:
    """A file or a folder, with its links."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)
