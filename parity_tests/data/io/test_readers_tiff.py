"""Windows of TIFF files against the whole arrays."""

import numpy as np
import pytest
import tifffile

from unet_data import read_stack
from unet_data.io.readers import open_pictures

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
