"""Windows of NumPy and Zarr arrays against the whole arrays, and damaged files."""

import numpy as np
import pytest
import tifffile

from unet_data.io.readers import open_pictures
from unet_spec import InputError

from .helpers import same_windows

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (97, 131)).astype(np.uint8)


@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx", "nyxc"])
def test_arrays_in_any_order_of_axes(axes, tmp_path):
    order = {"yx": (), "yxc": (2,), "cyx": (0,), "nyxc": (0, 3)}[axes]
    pixels = np.expand_dims(GREY, order) if axes in ("yx", "nyxc") else np.stack([GREY, GREY // 2], order[0])
    channels = pixels.shape[axes.index("c")] if "c" in axes else 1
    want = np.moveaxis(pixels, 0, -1) if axes == "cyx" else pixels
    np.save(tmp_path / "a.npy", pixels)
    same_windows(open_pictures(tmp_path / "a.npy", 2, channels), want.reshape(1, 97, 131, channels))


@pytest.mark.parametrize("form", [2, 3])
def test_windows_of_zarr(form, tmp_path):
    zarr = pytest.importorskip("zarr")
    array = zarr.create_array(str(tmp_path / "a.zarr"), shape=GREY.shape, chunks=(32, 32), dtype="u1", zarr_format=form)
    array[:] = GREY
    same_windows(open_pictures(tmp_path / "a.zarr", 2, 1), GREY[None, ..., None])


@pytest.mark.parametrize("form", [2, 3])
def test_ome_zarr_says_its_axes(form, tmp_path):
    zarr = pytest.importorskip("zarr")
    pixels = RNG.integers(0, 255, (2, 3, 1, 40, 50)).astype(np.uint8)  # t c z y x
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=form)
    for level, part in enumerate((pixels, pixels[..., ::2, ::2])):
        group.create_array(str(level), shape=part.shape, chunks=(1, 1, 1, 16, 16), dtype="u1")[:] = part
    scales = [{"axes": [{"name": n} for n in "tczyx"], "datasets": [{"path": "0"}, {"path": "1"}]}]
    group.attrs.update({"multiscales": scales} if form == 2 else {"ome": {"multiscales": scales}})
    same_windows(open_pictures(tmp_path / "a.zarr", 2, 3), np.moveaxis(pixels[:, :, 0], 1, -1))
    with pytest.raises(InputError, match="has 3 channels"):
        open_pictures(tmp_path / "a.zarr", 2, 1)


def test_damaged_files_are_one_line_each(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, tile=(32, 32), compression="zlib")
    content = (tmp_path / "a.tif").read_bytes()
    for cut in (10, 200, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.tif").write_bytes(content[:cut])
        with pytest.raises(InputError, match=r"cut\.tif: .*(damaged|is incomplete)"):
            open_pictures(tmp_path / "cut.tif", 2, 1, whole_below=0)
    wrong = bytearray(content)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        wrong[tiff.pages[0].dataoffsets[3] + 2] ^= 0xFF  # type: ignore[union-attr]
    (tmp_path / "bad.tif").write_bytes(wrong)
    picture = open_pictures(tmp_path / "bad.tif", 2, 1, whole_below=0)[0]
    with pytest.raises(InputError, match="the file is damaged"):
        picture[slice(0, 97), slice(0, 131)]
    with pytest.raises(InputError, match=r"has 1 channel .*the network takes 3"):
        open_pictures(tmp_path / "a.tif", 2, 3, whole_below=0)
    np.save(tmp_path / "n.npy", GREY)
    (tmp_path / "n.npy").write_bytes((tmp_path / "n.npy").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"n\.npy: cannot be read"):
        open_pictures(tmp_path / "n.npy", 2, 1)
    with pytest.raises(InputError, match="no such file"):
        open_pictures(tmp_path / "none.tif", 2, 1)
