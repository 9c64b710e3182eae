"""Noise, hand-made files, and the message of a refusal."""

import struct
import zlib

import numpy as np
import pytest

from unet_spec import InputError


def noise(*shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def refused(function, *arguments):
    """The message of the InputError that a call must raise; it is one line."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def hand_made_png(path, width, height, depth, colour_type, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


RNG = np.random.default_rng(0)


def same_windows(pictures, whole):
    for picture, image in zip(pictures, whole, strict=True):
        assert picture.shape == image.shape
        for _ in range(6):
            ends = [sorted(RNG.choice(n + 1, 2, replace=False)) for n in picture.shape[:-1]]
            window = tuple(slice(int(a), int(b)) for a, b in ends)
            assert np.array_equal(picture[window], image[window])
