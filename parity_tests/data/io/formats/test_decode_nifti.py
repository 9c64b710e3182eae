"""NIfTI volumes: axes, scaling and spacing; and what cannot be an image."""

import numpy as np
import pytest

nibabel = pytest.importorskip("nibabel")

from unet_data import open_dataset, open_pictures, read_stack
from unet_data.io.decode import decode

from ..helpers import noise, refused


def save(path, array, spacing=(0.5, 0.6, 2.0)):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing, 1.0])), path)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_axes_and_spacing(tmp_path, ending):
    volume = noise(7, 6, 5).astype(np.int16)  # x, y, z
    save(tmp_path / f"a{ending}", volume)
    pixels, facts = decode(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(pixels[..., 0], volume.T)
    np.testing.assert_allclose(facts.spacing, (2.0, 0.6, 0.5), rtol=1e-6)
    assert (facts.axes, facts.sizes, facts.dtype) == ("ZYX", (5, 6, 7), "int16")
    [picture] = open_pictures(tmp_path / f"a{ending}", 3)
    assert picture.shape == (5, 6, 7, 1)
    assert picture.facts.spacing == facts.spacing


def test_a_fourth_axis_is_of_channels(tmp_path):
    volume = noise(7, 6, 5, 2)
    save(tmp_path / "a.nii.gz", volume)
    np.testing.assert_array_equal(read_stack(tmp_path / "a.nii.gz"), volume.transpose(2, 1, 0, 3))


def test_volumes_of_nnunet_train(tmp_path):
    for i in range(2):
        save(tmp_path / "imagesTr" / f"case_{i}_0000.nii.gz", noise(7, 6, 5, seed=i).astype(np.float32))
        save(tmp_path / "labelsTr" / f"case_{i}.nii.gz", noise(7, 6, 5, seed=i) // 128)
    (tmp_path / "dataset.json").touch()
    data = open_dataset(tmp_path, spatial_dims=3)
    assert data.images[0].shape == (5, 6, 7, 1)
    assert data.class_count == 2
    assert [e.path.name for e in data.entries if e.status == "left out"] == ["dataset.json"]
    save(tmp_path / "imagesTr" / "case_0_0001.nii.gz", noise(7, 6, 5))
    assert "several files per image" in refused(open_dataset, tmp_path)


def test_damaged_files_are_one_line(tmp_path):
    save(tmp_path / "a.nii.gz", noise(7, 6, 5))
    content = (tmp_path / "a.nii.gz").read_bytes()
    for length in range(1, len(content) - 20, 17):
        (tmp_path / "a.nii.gz").write_bytes(content[:length])
        assert "a.nii.gz" in refused(read_stack, tmp_path / "a.nii.gz")
