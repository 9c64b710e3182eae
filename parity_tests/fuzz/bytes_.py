"""Changes that suit any file, and the values that numbers and texts are changed to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Change = tuple[str, bytes]
"""What was done, in a few words, and the file."""

NUMBERS = (
    0, 1, -1, 2, 3, 7, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64, 10**30,
    10**400, -(2**31), -(2**63), 0.5, -0.0, 1e-300, 1e300, 5e-324, 3.0000001, 100000, 40000, 1000000000,
)  # fmt: skip
CONTROLS = ("\x1b[31mred\x1b[0m", "a\nb", "a\rb", "\x07", "\x00", "\x9b31m", "‮abc", "\u2028", "\x1b]0;t\x07", "\x7f")
TEXTS = (
    "", " ", "a" * 300, "x" * 100_000, "../../escaped", "/", "..", "a/b", "é", "ﬁ́", "\ud800", "%s%n{0}", "[red]x[/red]",
    "<script>", "| a | b |", "nan", "Infinity", "None", *CONTROLS,
)  # fmt: skip
SIZES = (0, 1, 2, 255, 65535, 65536, 2**20, 28672, 46000, 2**31 - 1, 2**31, 2**32 - 1)


def pick(rng: np.random.Generator, items):
    return items[int(rng.integers(len(items)))]


def change(rng: np.random.Generator, data: bytes) -> Change:
    """One change that knows nothing of the format."""
    return pick(rng, CHANGES)(rng, data)


def flipped(rng: np.random.Generator, data: bytes) -> Change:
    array = np.frombuffer(data, np.uint8).copy()
    if array.size:
        for _ in range(int(pick(rng, (1, 1, 2, 8, 64)))):
            array[int(rng.integers(array.size))] ^= np.uint8(1 << int(rng.integers(8)))
    return "bits", array.tobytes()


def header(rng: np.random.Generator, data: bytes) -> Change:
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(int(rng.integers(1, 4)) if array.size else 0):
        array[int(rng.integers(min(array.size, 512)))] = pick(rng, (0, 1, 127, 128, 254, 255))
    return "header bytes", array.tobytes()


def shortened(rng: np.random.Generator, data: bytes) -> Change:
    return "cut short", data[: int(rng.integers(len(data) + 1))]


def half(rng: np.random.Generator, data: bytes) -> Change:
    return "!half", data[: len(data) // 2]


def block(rng: np.random.Generator, data: bytes) -> Change:
    at, n = int(rng.integers(len(data) + 1)), int(pick(rng, (1, 4, 16, 256, 4096)))
    fill = pick(rng, (b"\0", b"\xff", None))
    piece = rng.bytes(n) if fill is None else fill * n
    return "block", data[:at] + piece + data[at + n :]


def inserted(rng: np.random.Generator, data: bytes) -> Change:
    at = int(rng.integers(len(data) + 1))
    return "inserted", data[:at] + rng.bytes(int(pick(rng, (1, 2, 64)))) + data[at:]


def removed(rng: np.random.Generator, data: bytes) -> Change:
    at = int(rng.integers(len(data) + 1))
    return "removed", data[:at] + data[at + int(pick(rng, (1, 2, 64, 512))) :]


def doubled(rng: np.random.Generator, data: bytes) -> Change:
    at, n = int(rng.integers(len(data) + 1)), int(pick(rng, (16, 256, 4096)))
    return "doubled", data[: at + n] + data[at:]


def more(rng: np.random.Generator, data: bytes) -> Change:
    return "more at the end", data + rng.bytes(int(pick(rng, (1, 100, 5000))))


def other(rng: np.random.Generator, data: bytes) -> Change:
    """Another kind of file under this name."""
    kinds = (b"", b"\0" * 1000, b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"{}",
             b"[]", b"null", b"\x93NUMPY\x01\0", b"\x80\x02}q\0.", b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd",
             b"<html></html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")  # fmt: skip
    return "another kind", pick(rng, kinds)


CHANGES: tuple[Callable[[np.random.Generator, bytes], Change], ...] = (
    flipped, flipped, header, header, shortened, half, block, inserted, removed, doubled, more, other,
)  # fmt: skip
