"""Axes that the user names, of TIFF and arrays, read whole and by windows."""

import numpy as np
import pytest
import tifffile

from unet_data import ReadSettings, open_dataset, open_pictures, open_stored
from unet_data.io.formats.axes import check_axes, named_axes
from unet_spec import InputError

from ..helpers import noise, refused

ARRAY = noise(3, 4, 2, 12, 10)  # T, Z, C, Y, X


def saved(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        tifffile.imwrite(path, array, photometric="minisblack", metadata={"axes": "Q" * (array.ndim - 2) + "YX"})
    return path


def whole(picture):
    return picture[tuple(slice(0, n) for n in picture.shape[:-1])]


@pytest.mark.parametrize("ending", ["npy", "tif"])
@pytest.mark.parametrize("limit", [0, 2**28])
def test_each_time_point_is_a_volume(ending, limit, tmp_path):
    for order, axes in (((0, 1, 2, 3, 4), "TZCYX"), ((1, 0, 3, 4, 2), "ZTYXC"), ((2, 1, 0, 3, 4), "CZTYX")):
        path = saved(tmp_path / f"{axes}.{ending}", ARRAY.transpose(order))
        found = open_pictures(path, 3, 2, whole_below=limit, settings=ReadSettings(axes=axes))
        assert [picture.shape for picture in found] == [(4, 12, 10, 2)] * 3
        for time, picture in enumerate(found):
            np.testing.assert_array_equal(whole(picture), np.moveaxis(ARRAY[time], 1, -1))
            np.testing.assert_array_equal(picture[1:3, 2:5, 4:5], np.moveaxis(ARRAY[time], 1, -1)[1:3, 2:5, 4:5])
        assert "axes read as" in " ".join(picture.facts.read_as)


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_each_plane_is_an_image_of_a_flat_network(ending, tmp_path):
    path = saved(tmp_path / f"a.{ending}", ARRAY[0])
    found = open_pictures(path, 2, 2, settings=ReadSettings(axes="ZCYX"))
    np.testing.assert_array_equal([whole(picture) for picture in found], np.moveaxis(ARRAY[0], 1, -1))
    found = open_pictures(path, 2, 1, settings=ReadSettings(axes="TZYX"))
    assert len(found) == 8


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_labels_need_no_channels(ending, tmp_path):
    for name, array in (("images", ARRAY[0]), ("labels", ARRAY[0, :, 0] // 128)):
        (tmp_path / name).mkdir()
        saved(tmp_path / name / f"a.{ending}", array)
    for opened in (open_dataset, open_stored):
        data = opened(tmp_path, 3, settings=ReadSettings(axes="ZCYX"))
        np.testing.assert_array_equal(np.asarray(data.images[0]), np.moveaxis(ARRAY[0], 1, -1))
        np.testing.assert_array_equal(np.asarray(data.labels[0]), ARRAY[0, :, 0] // 128)
        assert any("axes read as ZCYX" in line for line in data.decisions)


def test_axes_of_length_one_may_be_left_out():
    assert named_axes("ZYX", (1, 4, 1, 8, 8), False, "a") == ("ZYX", (4, 8, 8))
    assert named_axes("ZCYX", (4, 8, 8), True, "a") == ("ZYX", (4, 8, 8))


@pytest.mark.parametrize(
    ("axes", "words"),
    [("TZY", "Y and X are missing"), ("TTYX", "T occurs twice"), ("ABYX", "'A' is not one"), ("CYXS", "both channels")],
)
def test_what_are_no_axes_is_refused(axes, words):
    with pytest.raises(InputError, match=words):
        ReadSettings(axes=axes)


def test_axes_that_do_not_fit_the_file_or_the_network_are_refused(tmp_path):
    for ending in ("npy", "tif"):
        path = saved(tmp_path / f"a.{ending}", ARRAY[0, 0])
        message = refused(open_pictures, path, 2, None, 0, "image", ReadSettings(axes="TZYX"))
        assert f"a.{ending}: --axes TZYX names 4 axes, but the file has shape (2, 12, 10)" in message
        assert "needs Z" in refused(open_pictures, path, 3, None, 0, "image", ReadSettings(axes="TYX"))
    assert "needs Z" in refused(open_dataset, tmp_path, 3, "auto", None, ReadSettings(axes="TYX"))


@pytest.mark.parametrize("axes", ["", "YX", "XY", "TZCYX", "SYX", "QYXC"])
def test_axes_that_are_allowed(axes):
    check_axes(axes)


@pytest.mark.parametrize(
    ("axes", "problem"),
    [
        ("AYX", "'A' is not one of them"),
        ("yx", "'y' is not one of them"),
        ("YYX", "Y occurs twice"),
        ("ZY", "Y and X are missing"),
        ("ZX", "Y and X are missing"),
        ("T", "Y and X are missing"),
        ("CYXS", "C and S are both channels"),
    ],
)
def test_axes_that_are_refused(axes, problem):
    with pytest.raises(InputError, match=f"axes '{axes}': {problem}; write letters of TZCYXSQ"):
        check_axes(axes)
