"""What an image may take of the memory."""

import json

import numpy as np
import pytest
import tifffile

from unet_data import open_pictures, read_stack, write_stack
from unet_data.io import budget
from unet_data.io.budget import DOUBTFUL, check_memory, memory_limit
from unet_spec import InputError

from .helpers import refused


def test_the_limit_is_the_given_one_else_the_variable_else_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(budget, "available", lambda: 8 * DOUBTFUL)
    check_memory("a", 4 * DOUBTFUL, DOUBTFUL)
    assert (
        "a: its pixels need 4.00 GiB of memory, more than 4.00 GiB, half of the free memory; "
        "UNET_MEMORY=4.00GiB" in (refused(check_memory, "a", 4 * DOUBTFUL + 1, DOUBTFUL))
    )
    check_memory("a", DOUBTFUL, 1)
    assert "more than 1.00 GiB, the limit for a file of 1 MiB" in refused(check_memory, "a", DOUBTFUL + 1, 1)
    monkeypatch.setenv("UNET_MEMORY", "3GiB")
    check_memory("a", 3 * DOUBTFUL, 1)
    assert "more than 3.00 GiB, the given limit" in refused(check_memory, "a", 4 * DOUBTFUL, DOUBTFUL)
    with memory_limit(1000), memory_limit(None):
        assert "the given limit" in refused(check_memory, "a", 1001, 1000)
        check_memory("a", 1000, 1)
    check_memory("a", 3 * DOUBTFUL, 1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_file_that_is_read_whole_needs_its_pixels_twice(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_stack(path, np.arange(2400, dtype=np.uint16).reshape(1, 40, 60))
    with memory_limit(4 * 2400):
        assert read_stack(path).shape == (1, 40, 60, 1)
    with memory_limit(4 * 2400 - 1):
        assert "UNET_MEMORY" in refused(read_stack, path)


def test_a_tile_and_the_number_of_pages_are_bounded(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), tile=(64, 64), compression="zlib")
    with memory_limit(2 * 64 * 64 - 1):
        assert "a tile or strip needs" in refused(open_pictures, tmp_path / "a.tif", 2, None, 0)
    with memory_limit(2 * 64 * 64):
        assert open_pictures(tmp_path / "a.tif", 2, None, 0)[0].shape == (64, 64, 1)
    np.save(tmp_path / "a.npy", np.zeros((100_001, 2, 2), np.uint8))
    assert "holds 100001 images" in refused(open_pictures, tmp_path / "a.npy", 2, 1)


def test_a_header_of_npy_that_is_no_literal_is_one_line(tmp_path):
    text = b"(" * 9000 + b"1\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text)
    assert "not a .npy file or is incomplete" in refused(open_pictures, tmp_path / "a.npy", 2)


def test_zarr_of_many_small_pages_is_refused(tmp_path):
    pytest.importorskip("zarr")
    folder = tmp_path / "p.zarr"
    folder.mkdir()
    values = {"zarr_format": 2, "shape": [10**8, 4, 4], "chunks": [1, 4, 4], "dtype": "|u1", "compressor": None}
    (folder / ".zarray").write_text(json.dumps(values | {"fill_value": 0, "order": "C", "filters": None}))
    with pytest.raises(InputError, match="holds 100000000 images"):
        open_pictures(folder, 2, 1)
