"""NIfTI in, NIfTI out: the result lies where the image does, as nibabel reads both."""

import gzip
import struct

import numpy as np
import pytest
import tifffile

nibabel = pytest.importorskip("nibabel")

from unet_data import check_dataset, open_dataset, open_pictures, open_stored, read_stack
from unet_data.io.facts import FileFacts
from unet_data.io.formats.encode_nifti import KEY, elsewhere, result_header, write_nifti_windows
from unet_data.io.writers import check_target
from unet_tools.prediction.targets import result_name

from ..helpers import noise
from .bright import predicted

TURNED = np.array([[0, -0.5, 0.1, 12], [0.7, 0, 0, -8], [0, 0.2, 2.5, 30], [0, 0, 0, 1]])
"""Axes exchanged, mirrored and oblique."""


def save(path, array, kind=nibabel.Nifti1Image, order="<", units=("mm", "sec")):
    header = kind.header_class(endianness=order)
    image = kind(array, TURNED, header)
    image.set_data_dtype(array.dtype)
    image.header.set_xyzt_units(*units)
    image.header["descrip"] = b"a scan"
    image.header["cal_max"] = 900
    if array.ndim == 4:
        image.header["pixdim"][4] = 2.25
    nibabel.save(image, path)


def same_place(old, new):
    np.testing.assert_array_equal(new.affine, old.affine)
    for get in ("get_sform", "get_qform"):
        for a, b in zip(getattr(old.header, get)(True), getattr(new.header, get)(True), strict=True):
            np.testing.assert_array_equal(a, b)
    assert new.header.get_xyzt_units() == old.header.get_xyzt_units()
    assert new.header.get_zooms()[:3] == old.header.get_zooms()[:3]
    assert new.header["cal_max"] == 0  # of the image's values, not of labels


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_volume_comes_back_in_its_place(ending, dims, order, kind, tmp_path):
    array = noise(12, 11, 5)
    save(tmp_path / f"a{ending}", array, kind, order)
    assert predicted(tmp_path / f"a{ending}", tmp_path / f"o{ending}", dims) == []
    old, new = nibabel.load(tmp_path / f"a{ending}"), nibabel.load(tmp_path / f"o{ending}")
    same_place(old, new)
    assert type(new) is kind
    assert new.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(new.dataobj), array > 127)


@pytest.mark.parametrize("dims", [2, 3])
def test_time_comes_back(dims, tmp_path):
    array = noise(12, 11, 5, 3)
    save(tmp_path / "a.nii.gz", array)
    assert len(open_pictures(tmp_path / "a.nii.gz", dims, 1)) == (3 if dims == 3 else 15)
    predicted(tmp_path / "a.nii.gz", tmp_path / "o.nii.gz", dims)
    new = nibabel.load(tmp_path / "o.nii.gz")
    same_place(nibabel.load(tmp_path / "a.nii.gz"), new)
    assert float(new.header.get_zooms()[3]) == 2.25
    np.testing.assert_array_equal(np.asanyarray(new.dataobj), array > 127)


def test_that_the_fourth_axis_is_time_is_said(tmp_path):
    save(tmp_path / "a.nii.gz", noise(12, 11, 5, 3))
    [facts, *_] = [p.facts for p in open_pictures(tmp_path / "a.nii.gz", 3, 1)]
    assert list(facts.decisions("image")) == [
        ("fourth axis read as 3 time points, since the network takes one channel", "")
    ]
    assert len(open_pictures(tmp_path / "a.nii.gz", 3, 3)) == 1  # of channels


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("times", [1, 3])
def test_several_values_are_the_last_axis(dims, times, tmp_path):
    array = noise(12, 11, 5, times)
    save(tmp_path / "a.nii.gz", array[..., 0] if times == 1 else array)
    predicted(tmp_path / "a.nii.gz", tmp_path / "o.nii.gz", dims, 3, output="logits")
    new = nibabel.load(tmp_path / "o.nii.gz")
    expected = np.stack([0.5 - array / 255, array / 255 - 0.5, np.full(array.shape, -9)], -1)
    np.testing.assert_allclose(new.get_fdata(), expected[..., 0, :] if times == 1 else expected, atol=1e-6)
    assert new.get_data_dtype() == np.float32


@pytest.mark.parametrize("shape", [(12, 11), (12, 11, 1)])
def test_a_plane_keeps_its_number_of_axes(shape, tmp_path):
    array = noise(*shape)
    nibabel.save(nibabel.Nifti1Image(array, TURNED), tmp_path / "a.nii")
    predicted(tmp_path / "a.nii", tmp_path / "o.nii")
    found = np.asanyarray(nibabel.load(tmp_path / "o.nii").dataobj)
    assert found.shape == shape
    np.testing.assert_array_equal(found, array > 127)


def test_objects_lie_there_too(tmp_path):
    array = np.zeros((30, 31, 3), np.uint8)
    array[4:14, 5:15] = 255
    save(tmp_path / "a.nii.gz", array)
    predicted(tmp_path / "a.nii.gz", tmp_path / "o.nii.gz", output="objects")
    new = nibabel.load(tmp_path / "o.nii.gz")
    same_place(nibabel.load(tmp_path / "a.nii.gz"), new)
    np.testing.assert_array_equal(np.asanyarray(new.dataobj) > 0, array > 127)


def test_the_pixel_size_of_another_format_is_kept(tmp_path):
    sizes = {"PhysicalSizeX": 250.0, "PhysicalSizeY": 500.0, "PhysicalSizeZ": 2000.0}
    units = {f"{name}Unit": "nm" for name in sizes}
    array = noise(5, 11, 12)
    tifffile.imwrite(tmp_path / "a.tif", array, ome=True, metadata={"axes": "ZYX", **sizes, **units})
    assert predicted(tmp_path / "a.tif", tmp_path / "o.nii") == []
    new = nibabel.load(tmp_path / "o.nii")
    np.testing.assert_allclose(new.header.get_zooms(), (0.25, 0.5, 2.0), rtol=1e-6)
    assert new.header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(np.asanyarray(new.dataobj), array.T > 127)


@pytest.mark.parametrize("axes", ["TZYX", "ZTYX"])
def test_time_of_another_format_is_the_fourth_axis(axes, tmp_path):
    array = noise(2, 3, 11, 12)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="minisblack", metadata={"axes": axes})
    for dims in (2, 3):
        predicted(tmp_path / "a.tif", tmp_path / f"{dims}.nii", dims)
        found = np.asanyarray(nibabel.load(tmp_path / f"{dims}.nii").dataobj)
        order = (3, 2, 1, 0) if axes == "TZYX" else (3, 2, 0, 1)
        np.testing.assert_array_equal(found, array.transpose(order) > 127)


def test_numbers_of_labels_are_not_scaled_as_the_image_was(tmp_path):
    save(tmp_path / "a.nii", noise(12, 11, 5).astype(np.int16))
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = struct.pack("<ff", 0.01, -1.0)  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    predicted(tmp_path / "a.nii", tmp_path / "o.nii", 3)
    assert set(np.unique(nibabel.load(tmp_path / "o.nii").get_fdata())) == {0, 1}
    assert struct.unpack("<ff", (tmp_path / "o.nii").read_bytes()[112:120]) == (1, 0)


class Page:
    """A picture of one value."""

    shape, dtype, spatial_dims = (4, 3), np.dtype(np.uint8), 2

    def __init__(self, value):
        self.value = value

    def window(self, start, stop, step=1):
        return np.full([b - a for a, b in zip(start, stop, strict=True)], self.value, np.uint8)


def test_samples_of_slices_are_volumes(tmp_path):
    """Two hypotheses of each of five slices: along the fourth axis, not between the slices."""
    save(tmp_path / "a.nii", noise(3, 4, 5))
    facts = open_pictures(tmp_path / "a.nii", 2)[0].facts
    pages = [Page(10 * z + sample) for z in range(5) for sample in range(2)]
    write_nifti_windows(tmp_path / "o.nii", pages, facts, False)
    found = np.asanyarray(nibabel.load(tmp_path / "o.nii").dataobj)
    assert found.shape == (3, 4, 5, 2)
    assert found[0, 0].tolist() == [[10 * z, 10 * z + 1] for z in range(5)]


def test_the_same_values_are_the_same_bytes(tmp_path):
    save(tmp_path / "a.nii.gz", noise(12, 11, 5))
    for name in ("b", "c"):
        predicted(tmp_path / "a.nii.gz", tmp_path / f"{name}.nii.gz", 3)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()
    assert len(gzip.decompress((tmp_path / "b.nii.gz").read_bytes())) == 352 + 12 * 11 * 5
    assert read_stack(tmp_path / "b.nii.gz").shape == (5, 11, 12, 1)


def test_results_of_nifti_are_nifti(tmp_path):
    for name in ("a.nii", "a.b.nii.gz", "A.NII.GZ"):
        assert result_name(tmp_path / name) == name
        check_target(tmp_path / name, False, np.dtype(np.uint8), (), 1, 3)


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_each_axis_of_a_volume_keeps_its_length(depth, tmp_path):
    """Unequal lengths: (z, y, x) here, (x, y, z) in the file."""
    save(tmp_path / "a.nii", noise(5, 4, depth))
    predicted(tmp_path / "a.nii", tmp_path / "b.nii", 3)
    assert nibabel.load(tmp_path / "b.nii").shape == (5, 4, depth)


@pytest.mark.parametrize(
    ("unit", "name", "factor"),
    [("mm", "mm", 1), ("micrometer", "micron", 1), ("m", "meter", 1), ("nm", "micron", 1e-3), ("cm", "micron", 1e4),
     ("furlong", "unknown", 1), ("", "unknown", 1)],
)  # fmt: skip
def test_a_new_header_has_the_pixel_size_in_a_unit_of_nifti(unit, name, factor):
    header = result_header(FileFacts(spacing=(5.0, 2.0, 0.5), unit=unit), (9, 8, 7, 3), np.dtype(np.float32))
    assert header.get_xyzt_units()[0] == name
    np.testing.assert_allclose(header.get_zooms(), (0.5 * factor, 2 * factor, 5 * factor, 1), rtol=1e-6)
    assert (header.get_data_shape(), header.get_data_dtype()) == ((9, 8, 7, 3), np.float32)
    assert header.get_slope_inter() == (1, 0)
    assert (header["vox_offset"], header["magic"], header.endianness) == (352, b"n+1", "<")
    plain = result_header(FileFacts(), (9, 8), np.dtype(np.uint8))
    assert plain.get_zooms() == (1, 1)


@pytest.mark.parametrize(("length", "size"), [(32767, 348), (32768, 540)])
def test_a_long_axis_needs_nifti_2(length, size):
    header = result_header(FileFacts(), (4, length), np.dtype(np.uint8))
    assert len(header.binaryblock) == size
    stored = FileFacts(extra=((KEY, bytes(nibabel.Nifti1Header(endianness="<").binaryblock)),))
    assert len(result_header(stored, (4, length), np.dtype(np.uint8)).binaryblock) == size


class Large(Page):
    """A picture of two values a pixel, too large for one block."""

    shape, dtype = (5, 2**22, 2), np.dtype(np.float16)

    def window(self, start, stop, step=1):
        taken.append((start[0], stop[0]))
        return np.zeros((stop[0] - start[0], 1, 2), np.float16)


taken = []


def test_values_are_written_in_blocks_of_a_few_rows(tmp_path):
    taken.clear()
    write_nifti_windows(tmp_path / "o.nii", [Large(0)], FileFacts(), False)
    assert taken == [(row, row + 1) for row in range(5)] * 2
    found = nibabel.load(tmp_path / "o.nii")  # of which no pixel is read
    assert (found.shape, found.get_data_dtype()) == ((2**22, 5, 1, 2), np.float32)


def stated(affine, shape=(4, 5, 6)):
    return FileFacts(sizes=shape, extra=((KEY, nibabel.Nifti1Image(np.zeros(shape[::-1]), affine).header.binaryblock),))


def test_a_label_lies_where_its_image_lies():
    moved, mirrored = TURNED.copy(), TURNED @ np.diag([-1, 1, 1, 1])
    moved[:3, 3] += 3
    assert elsewhere(stated(TURNED), stated(TURNED + 1e-3)) == ""
    assert elsewhere(stated(TURNED), stated(moved)).startswith("label lies more than a voxel from its image")
    assert elsewhere(stated(TURNED), stated(mirrored)).startswith(
        "label has orientation PLS by its affine, its image ALS"
    )
    header = nibabel.Nifti1Header()
    header.set_data_shape((6, 5, 4))
    unstated = FileFacts(sizes=(4, 5, 6), extra=((KEY, header.binaryblock),))
    for other in (FileFacts(sizes=(4, 5, 6)), unstated, stated(mirrored, (4, 5, 7))):
        assert elsewhere(stated(TURNED), other) == ""


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_a_mirrored_label_is_named(opened, tmp_path):
    image = np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4)
    for name, affine in (("images", TURNED), ("labels", TURNED @ np.diag([1, -1, 1, 1]))):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(image if name == "images" else image % 2, affine), tmp_path / name / "a.nii")
    data = opened(tmp_path, 3)
    [line] = data.decisions
    assert line.startswith("label has orientation")
    assert line.endswith("1 of 1 labels")
    assert any(p.where == "a" and p.level == "error" and "mirrored" in p.what for p in check_dataset(data))
