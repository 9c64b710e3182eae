"""NIfTI files: orientations, round trips, and files that are no case."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from unet_data.io.budget import memory_limit
from unet_data.nnunet import find_cases, read_nifti, write_nifti
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
