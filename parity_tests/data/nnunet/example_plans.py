"""Plans of nnU-Net for the tests."""

from __future__ import annotations

from unet_data.nnunet import NnunetPlans

MEASURED = {"mean": 2.0, "std": 4.0, "percentile_00_5": -1.0, "percentile_99_5": 10.0}


def plans(**changes) -> dict:
    """Plans of one channel, z-scored, at 1 mm, with tiles of 4³."""
    resampling = {"is_seg": False, "order_z": 0, "force_separate_z": None}
    configuration = {
        "patch_size": [4, 4, 4],
        "spacing": [1.0, 1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling | {"order": 3},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"order": 1},
    }
    return {
        "configurations": {"3d_fullres": configuration | changes},
        "transpose_forward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {"0": MEASURED},
    }


DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1}, "file_ending": ".nii.gz"}


def checked_plans(dataset: dict = DATASET, **changes) -> NnunetPlans:
    return NnunetPlans(plans(**changes), dataset, "3d_fullres")
