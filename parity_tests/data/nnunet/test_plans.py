"""Plans of nnU-Net that are read, stored, or refused."""

from __future__ import annotations

import pytest

from unet_data.nnunet import NnunetPlans
from unet_spec import InputError

from .example_plans import DATASET, MEASURED, checked_plans, plans


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization_schemes": ["Magic"]}, "unknown normalization scheme 'Magic'"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "unknown resampling_fn_data"),
        ({"use_mask_for_norm": []}, "0 use_mask_for_norm for 1 channels"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"spacing": [1.0]}, "must both have 2 or 3 axes"),
        ({"inherits_from": "2d"}, "no usable configuration '2d'"),
        *[({"spacing": [1.0, bad, 1.0]}, "each above 0") for bad in (0, -1, 1e-9, 1e9, float("nan"))],
        *[({"patch_size": [4, bad, 4]}, "whole numbers of voxels") for bad in (0, -4, 4.5, "4", True, 2**40)],
        ({"patch_size": "444"}, "whole numbers of voxels"),
    ],
)
def test_plans_that_cannot_be_followed_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        checked_plans(**changes)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        ({"mean": []}, "'mean' of channel 0 must be a number"),
        ({"std": True}, "'std' of channel 0 must be a number"),
        ({"percentile_99_5": None}, "'percentile_99_5' of channel 0 must be a number"),
    ],
)
def test_intensities_of_ct_are_numbers(measured, message):
    made = plans(normalization_schemes=["CTNormalization"])
    made["foreground_intensity_properties_per_channel"] = {"0": MEASURED | measured}
    with pytest.raises(InputError, match=message):
        assert NnunetPlans(made, DATASET, "3d_fullres").intensities


@pytest.mark.parametrize("ending", ["/../../x.sh", "\\x", ".nii/", "", ".", "..", "nii", ".n\nii", ".sh\x00", 7])
def test_the_end_of_a_files_name_is_no_path(ending):
    with pytest.raises(InputError, match="file_ending is"):
        checked_plans(DATASET | {"file_ending": ending})
    assert checked_plans(DATASET | {"file_ending": ".nii"}).file_ending == ".nii"


@pytest.mark.parametrize("fold", ["..", "../fold_0", "/tmp", "a/b", ""])
def test_a_fold_is_a_folder_beside_the_file(fold):
    with pytest.raises(InputError, match="folds is"):
        NnunetPlans(plans(), DATASET, "3d_fullres", (), (fold,))


def test_plans_survive_their_file(tmp_path):
    own = NnunetPlans(plans(), DATASET, "3d_fullres", (0, 2), ("fold_0", "fold_1"), "nnUNetTrainer_5epochs")
    own.save(tmp_path)
    assert NnunetPlans.load(tmp_path) == own
    (tmp_path / "nnunet.json").write_text("{}")
    with pytest.raises(InputError, match="expected format 'unet-nnunet'"):
        NnunetPlans.load(tmp_path)
    (tmp_path / "nnunet.json").write_text(own.to_json().replace('"plans": {', '"plans": [{').rstrip()[:-1] + "]}")
    with pytest.raises(InputError, match=r"nnunet\.json"):
        NnunetPlans.load(tmp_path)
