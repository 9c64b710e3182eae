"""Windows of NumPy and Zarr arrays against the whole arrays, and damaged files."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import Picture, ReadSettings, open_dataset
from unet_data.io import readers
from unet_data.io.formats.channels import EQUAL, adapted
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


def test_the_limits_are_those_of_the_documents():
    assert (readers.WHOLE_BELOW, readers.MAX_CHANNELS, readers.COLOUR) == (2**28, 4, 3)
    assert readers.MAX_PICTURES == 100_000
    assert Picture((2, 2, 1), GREY.__getitem__, "a").held == 65536


@pytest.mark.parametrize(
    ("shape", "dims", "channels", "found"),
    [
        ((5, 6), 2, None, [(5, 6, 1)]),
        ((5, 6), 2, 1, [(5, 6, 1)]),
        ((5, 6, 4), 2, None, [(5, 6, 4)]),
        ((2, 5, 6), 2, None, [(5, 6, 1)] * 2),  # a last axis of more than 4 is no channel axis
        ((2, 5, 6), 2, 2, [(5, 6, 2)]),
        ((2, 5, 6), 2, 1, [(5, 6, 1)] * 2),
        ((2, 5, 2), 2, 2, [(2, 5, 2)]),  # the last axis comes first
        ((2, 5, 6, 7), 2, None, [(5, 6, 7)] * 2),
        ((2, 5, 6, 3), 2, 3, [(5, 6, 3)] * 2),
        ((4, 5, 6), 3, None, [(4, 5, 6, 1)]),
        ((4, 5, 6, 2), 3, None, [(4, 5, 6, 2)]),
        ((2, 4, 5, 6), 3, 2, [(4, 5, 6, 2)]),
        ((2, 4, 5, 6), 3, 1, [(4, 5, 6, 1)] * 2),
        ((2, 4, 5, 6, 3), 3, None, [(4, 5, 6, 3)] * 2),
    ],
)
def test_what_the_axes_of_an_array_without_names_are(tmp_path, shape, dims, channels, found):
    np.save(tmp_path / "a.npy", np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
    assert [picture.shape for picture in open_pictures(tmp_path / "a.npy", dims, channels)] == found


@pytest.mark.parametrize(
    ("shape", "dims", "channels", "message"),
    [
        (
            (5,),
            2,
            None,
            r"shape \(5,\) is not a 2-D image with 1 channel; expected \(y, x\), \(y, x, c\) or \(c, y, x\)",
        ),
        ((5, 6, 7), 2, 2, r"is not a 2-D image with 2 channels; .*; --axes names the axes, such as TZYX"),
        ((2, 2, 5, 6, 1), 2, 1, r"shape \(2, 2, 5, 6, 1\) is not a 2-D image with 1 channel;"),
        ((5, 6), 3, 1, r"is not a 3-D image with 1 channel; expected \(z, y, x\), \(z, y, x, c\) or \(c, z, y, x\)"),
        ((5, 0), 2, 1, r"holds no pixels \(shape \(5, 0\)\)"),
        ((5, 6, 3), 2, 1, r"has 3 channels \(shape \(5, 6, 3\)\); the network takes 1"),
        ((5, 6, 3), 2, 4, r"has 3 channels \(shape \(5, 6, 3\)\); the network takes 4"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, shape, dims, channels, message):
    np.save(tmp_path / "a.npy", np.arange(np.prod(shape), dtype=np.uint16).reshape(shape))
    with pytest.raises(InputError, match=message):
        open_pictures(tmp_path / "a.npy", dims, channels)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), np.complex64))
    with pytest.raises(InputError, match="holds complex64 values; images must be integer or floating point"):
        open_pictures(tmp_path / "a.npy", 2, 1)


@pytest.mark.parametrize(
    ("axes", "shape", "dims", "found", "facts"),
    [
        ("XY", (5, 6), 2, [(6, 5, 1)], "XY"),
        ("CXYT", (2, 5, 6, 3), 2, [(6, 5, 2)] * 3, "CXYT"),
        ("TZYX", (2, 3, 5, 6), 3, [(3, 5, 6, 1)] * 2, "TZYX"),
        ("ZYX", (1, 3, 5, 6), 3, [(3, 5, 6, 1)], "QZYX"),
    ],
)
def test_axes_that_are_given_are_those_of_the_array(tmp_path, axes, shape, dims, found, facts):
    pixels = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    np.save(tmp_path / "a.npy", pixels)
    pictures = open_pictures(tmp_path / "a.npy", dims, settings=ReadSettings(axes=axes))
    assert [picture.shape for picture in pictures] == found
    assert pictures[0].facts.read_as == (f"axes read as {facts}",)
    assert (pictures[0].facts.dtype, pictures[0].facts.sizes) == ("uint16", shape)
    if axes == "CXYT":
        np.testing.assert_array_equal(pictures[1][2:6, 1:3], pixels[:, 1:3, 2:6, 1].transpose(2, 1, 0))


def test_a_volume_needs_a_depth(tmp_path):
    with pytest.raises(InputError, match="axes 'TYX': a 3-D network needs Z, the depth, among them"):
        readers.check_depth(ReadSettings(axes="TYX"), 3)
    readers.check_depth(ReadSettings(axes="TYX"), 2)
    readers.check_depth(ReadSettings(axes="ZYX"), 3)
    readers.check_depth(ReadSettings(), 3)
    np.save(tmp_path / "a.npy", np.zeros((2, 5, 6)))
    with pytest.raises(InputError, match="needs Z"):
        open_pictures(tmp_path / "a.npy", 3, settings=ReadSettings(axes="TYX"))


def test_channels_are_repeated_averaged_or_joined(tmp_path):
    rgb = RNG.integers(0, 255, (30, 40, 3)).astype(np.uint8)
    np.save(tmp_path / "c.npy", rgb)
    np.save(tmp_path / "g.npy", GREY)
    [grey] = open_pictures(tmp_path / "c.npy", 2, 1, settings=ReadSettings(channels="grey"))
    expected, note = adapted(rgb, "grey")
    np.testing.assert_array_equal(grey[2:9, 3:8], expected[2:9, 3:8])
    assert grey.facts.read_as == (note,)
    [colour] = open_pictures(tmp_path / "g.npy", 2, 3, settings=ReadSettings(channels="repeat"))
    np.testing.assert_array_equal(colour[0:97, 0:131], GREY[..., None].repeat(3, -1))
    np.save(tmp_path / "e.npy", GREY[..., None].repeat(3, -1))
    [equal] = open_pictures(tmp_path / "e.npy", 2, 1)
    np.testing.assert_array_equal(equal[0:97, 0:131], GREY[..., None])
    assert equal.facts.read_as == (EQUAL,)
    [kept] = open_pictures(tmp_path / "e.npy", 2)
    assert kept.shape == (97, 131, 3)


def test_a_window_that_cannot_be_read_is_named():
    def read(window):
        raise KeyError("segment")

    with pytest.raises(InputError, match=r"^scan: the window \[2:5, 0:7\] cannot be read; the file is damaged \('seg"):
        Picture((9, 9, 1), read, "scan")[2:5, :7]
    big = Picture((9, 9, 1), lambda window: np.full((3, 4, 1), 7, ">u2"), "scan")[2:5, :4]
    assert (big.dtype, big[0, 0, 0]) == (np.dtype("=u2"), 7)


def test_the_number_of_pictures_of_a_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_PICTURES", 3)
    np.save(tmp_path / "a.npy", np.zeros((3, 5, 6), np.uint8))
    assert len(open_pictures(tmp_path / "a.npy", 2, 1)) == 3
    for name, save in (("b.npy", np.save), ("b.tif", lambda path, pixels: tifffile.imwrite(path, pixels, **MINIMAL))):
        save(tmp_path / name, np.zeros((4, 5, 6), np.uint8))
        with pytest.raises(InputError, match="holds 4 images; at most 3 per file can be read: split it"):
            open_pictures(tmp_path / name, 2, 1, whole_below=0)


MINIMAL = {"photometric": "minisblack"}


def test_volumes_of_a_tiff_are_its_times(tmp_path):
    pixels = RNG.integers(0, 255, (2, 3, 9, 11)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **MINIMAL, imagej=True, metadata={"axes": "TZYX"})
    for below, held in ((0, 8 * pixels.size), (2**28, pixels.size)):
        pictures = open_pictures(tmp_path / "a.tif", 3, 1, whole_below=below)
        same_windows(pictures, pixels[..., None])
        assert [picture.held for picture in pictures] == [held] * 2


@pytest.mark.parametrize("kind", ["png", "tif", "npy", "zarr"])
def test_a_pixel_size_that_the_user_states_is_that_of_the_image(kind, tmp_path):
    """In a file that is opened and in a data set; labels take none."""
    path = tmp_path / f"a.{kind}"
    if kind == "zarr":
        zarr = pytest.importorskip("zarr")
        zarr.create_array(str(path), shape=GREY.shape, chunks=(32, 32), dtype="u1")[:] = GREY
    elif kind == "npy":
        np.save(path, GREY)
    else:
        Image.fromarray(GREY).save(path)
    settings = ReadSettings(pixel_size="0.5,0.25 µm")
    for facts in (open_pictures(path, 2, settings=settings)[0].facts, open_dataset(path, settings=settings).facts[0]):
        assert (facts.spacing, facts.unit) == ((0.5, 0.25), "µm")
        assert "pixel size taken as 0.5,0.25 µm" in facts.read_as
    assert open_pictures(path, 2, role="label", settings=settings)[0].facts.spacing is None
    with pytest.raises(InputError, match=r"pixel_size .0.5,0.25 µm.: a 3-D network needs it along z, too"):
        open_pictures(path, 3, settings=settings)


def test_the_pixel_size_of_a_file_counts_more_than_that_of_the_user(tmp_path):
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY, ome=True, metadata={"axes": "YX"} | sizes)
    [picture] = open_pictures(tmp_path / "a.ome.tif", 2, settings=ReadSettings(pixel_size="7 mm"))
    assert (picture.facts.spacing, picture.facts.unit) == ((0.5, 0.25), "µm")


def test_an_ending_may_have_capitals(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((5, 6), np.uint8))
    (tmp_path / "a.npy").rename(tmp_path / "A.NPY")
    assert open_pictures(tmp_path / "A.NPY", 2)[0].shape == (5, 6, 1)
