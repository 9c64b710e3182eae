"""NIfTI files: orientations, round trips, and files that are no case."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from unet_data.io.budget import memory_limit
from unet_data.nnunet import find_cases, read_nifti, write_nifti
from unet_data.nnunet.nifti import case_targets
from unet_spec import InputError

nibabel = pytest.importorskip("nibabel", reason="nibabel is not installed")


def test_nifti_round_trips_and_orientations(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    flipped = np.diag([-0.5, 2.0, 3.0, 1.0])[[0, 2, 1, 3]]
    nibabel.save(nibabel.Nifti1Image(values, flipped), tmp_path / "a.nii.gz")
    for reorient in (False, True):
        image = read_nifti([tmp_path / "a.nii.gz"], reorient)
        assert image.values.shape == ((1, 4, 3, 2) if not reorient else (1, 3, 4, 2))
        assert image.spacing == pytest.approx((3.0, 2.0, 0.5) if not reorient else (2.0, 3.0, 0.5))
        write_nifti(tmp_path / "b.nii.gz", image.values[0].astype(np.uint8), image)
        back = nibabel.load(tmp_path / "b.nii.gz")
        np.testing.assert_array_equal(np.asarray(back.dataobj), values)
        np.testing.assert_allclose(back.affine, flipped)
        assert back.get_data_dtype() == np.uint8
    flat = np.arange(12, dtype=np.float32).reshape(3, 4)
    nibabel.save(nibabel.Nifti1Image(flat, np.diag([2.0, 1.0, 1.0, 1.0])), tmp_path / "flat.nii")
    image = read_nifti([tmp_path / "flat.nii"])
    assert image.values.shape == (1, 1, 4, 3)
    assert image.spacing == (1998.0, 1.0, 2.0)


def test_files_that_are_no_case_are_named(tmp_path):
    (tmp_path / "a_0000.nii.gz").write_bytes(b"not NIfTI")
    with pytest.raises(InputError, match=r"a_0001\.nii\.gz is missing"):
        find_cases([tmp_path], 2)
    with pytest.raises(InputError, match="cannot be read as NIfTI"):
        read_nifti(find_cases([tmp_path], 1)["a"])
    with pytest.raises(InputError, match="no such file or folder"):
        find_cases([tmp_path / "b.nii.gz"], 1)
    with pytest.raises(InputError, match="not a NIfTI file"):
        find_cases([Path(__file__)], 1)
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.float64), np.eye(4)), tmp_path / "c.nii")
    content = (tmp_path / "c.nii").read_bytes()
    (tmp_path / "c.nii").write_bytes(content[:-2000])
    with pytest.raises(InputError, match="incomplete or damaged"):
        read_nifti([tmp_path / "c.nii"])
    bomb = bytearray(content)
    bomb[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()  # dim[1:4]
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(bytes(bomb)))
    with pytest.raises(InputError, match="its header declares 216000000000000 bytes"):
        read_nifti([tmp_path / "bomb.nii.gz"])
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 8), np.float64), np.eye(4)), tmp_path / "d.nii")
    (tmp_path / "c.nii").write_bytes(content)
    with pytest.raises(InputError, match="voxels, but"):
        read_nifti([tmp_path / "c.nii", tmp_path / "d.nii"])


def test_voxels_are_checked_before_any_are_read(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5), np.int16), np.diag([-1, 1, 1, 1])), tmp_path / "flat.nii")
    with pytest.raises(InputError, match="cannot be read"):  # two axes have no place among three
        read_nifti([tmp_path / "flat.nii"], reorient=True)
    nibabel.save(nibabel.Nifti1Image(np.zeros((40, 50, 60), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    for reorient in (False, True):
        with memory_limit(16 * 40 * 50 * 60 - 1), pytest.raises(InputError, match="its voxels need 2 MiB"):
            read_nifti([tmp_path / "a.nii.gz"], reorient)
        with memory_limit(16 * 40 * 50 * 60):
            assert read_nifti([tmp_path / "a.nii.gz"], reorient).values.shape == (1, 60, 50, 40)


def test_a_place_in_space_that_no_result_could_have_is_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[280:284] = np.float32(np.nan).tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError, match="affine matrix or header is damaged"):
        read_nifti([tmp_path / "a.nii"])


def touched(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_files_of_a_case_are_found_by_their_numbers(tmp_path):
    one = touched(
        tmp_path / "one", "b_0000.nii.gz", "b_0001.nii.gz", "a_0001.nii.gz", "a_0000.nii.gz", ".c_0000.nii.gz"
    )
    touched(one, "notes.txt", "d_0000.nii", "a_0002.nii.gz")  # another ending, and a channel more
    cases = find_cases([one], 2)
    assert list(cases) == ["a", "b"]
    assert cases["a"] == [one / "a_0000.nii.gz", one / "a_0001.nii.gz"]
    assert list(find_cases([one], 1, ".nii")) == ["d"]
    alone = touched(tmp_path / "two", "scan_12.nii.gz") / "scan_12.nii.gz"
    assert find_cases([alone], 2) == {"scan_12": [alone]}  # all channels in one file
    assert list(find_cases([one, alone], 2)) == ["a", "b", "scan_12"]
    assert find_cases([one / "a_0001.nii.gz", one / "a_0000.nii.gz"], 2) == {"a": cases["a"]}  # named twice, one case
    other = touched(tmp_path / "three", "b_0000.nii.gz", "b_0001.nii.gz")
    with pytest.raises(
        InputError, match=r"two cases have the name b: .*one.b_0000\.nii\.gz and .*three.b_0000\.nii\.gz"
    ):
        find_cases([one, other], 2)
    with pytest.raises(InputError, match=r"no file with the ending \.nii$"):
        find_cases([other], 2, ".nii")


def test_each_case_has_a_file_of_its_own(tmp_path):
    out = tmp_path / "out"
    assert case_targets(["a", "b"], out) == {"a": out / "a.nii.gz", "b": out / "b.nii.gz"}
    assert case_targets(iter(["a"]), out, ".nii") == {"a": out / "a.nii"}
    assert case_targets(["a"], tmp_path / "x.nii") == {"a": tmp_path / "x.nii"}
    with pytest.raises(InputError, match=r"x\.nii is one file; 2 cases need a folder"):
        case_targets(["a", "b"], tmp_path / "x.nii")
    folder = touched(tmp_path / "named.nii.gz")  # a folder, in spite of its name
    assert case_targets(["a"], folder) == {"a": folder / "a.nii.gz"}
    file = touched(tmp_path, "y.txt") / "y.txt"
    with pytest.raises(InputError, match=r"is a file, but not a NIfTI file; give a folder, or a name that ends with"):
        case_targets(["a"], file)


def test_channels_of_a_case_are_of_one_place(tmp_path):
    def write(name, shape=(3, 4, 5), zooms=(0.5, 1.0, 2.0), value=1.0, dtype=np.float32):
        nibabel.save(nibabel.Nifti1Image(np.full(shape, value, dtype), np.diag([*zooms, 1.0])), tmp_path / name)
        return tmp_path / name

    paths = [write("a_0000.nii.gz"), write("a_0001.nii.gz", value=2.0)]
    image = read_nifti(paths)
    assert (image.values.shape, image.values.dtype, image.spacing) == ((2, 5, 4, 3), np.float32, (2.0, 1.0, 0.5))
    assert [image.values[channel].mean() for channel in (0, 1)] == [1.0, 2.0]
    together = read_nifti([write("b.nii.gz", (3, 4, 5, 2))])
    assert together.values.shape == (2, 5, 4, 3)
    near = write("c_0001.nii.gz", zooms=(0.5, 1.0, 2.000001))
    assert read_nifti([paths[0], near]).spacing == image.spacing
    with pytest.raises(InputError, match=r"d\.nii\.gz: spacing .* but a_0000\.nii\.gz has"):
        read_nifti([paths[0], write("d.nii.gz", zooms=(0.5, 1.0, 2.1))])
    with pytest.raises(InputError, match="a case has no files"):
        read_nifti([])
    with pytest.raises(InputError, match="expected scalars with 2 to 4 axes"):
        read_nifti([write("e.nii.gz", dtype=np.complex64)])
    with pytest.raises(InputError, match=r"shape \(3, 4, 5, 2, 2\) of float32; expected scalars with 2 to 4 axes"):
        read_nifti([write("f.nii.gz", (3, 4, 5, 2, 2))])
    with pytest.raises(InputError, match=r"no such file: .*g\.nii"):
        read_nifti([tmp_path / "g.nii"])
    nibabel.save(nibabel.MGHImage(np.zeros((2, 2, 2), np.float32), np.eye(4)), tmp_path / "h.mgz")
    with pytest.raises(InputError, match="MGHImage, not NIfTI"):
        read_nifti([tmp_path / "h.mgz"])


def test_several_outputs_are_the_fourth_axis_and_the_scale_of_the_scan_is_not_theirs(tmp_path):
    scan = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))
    scan.header.set_slope_inter(2, 5)
    nibabel.save(scan, tmp_path / "a.nii")
    image = read_nifti([tmp_path / "a.nii"])
    maps = np.random.default_rng(0).random((5, *image.values.shape[1:])).astype(np.float32)
    write_nifti(tmp_path / "b.nii.gz", maps, image)
    write_nifti(tmp_path / "c.nii.gz", maps, image)
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "c.nii.gz").read_bytes()
    back = nibabel.load(tmp_path / "b.nii.gz")
    assert back.shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(np.asarray(back.dataobj).T, maps)
