"""nnU-Net's pre- and post-processing against numbers computed by hand, and against the libraries that it calls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from unet_data.nnunet import Recipe, labels_of, prepare_case, probabilities_of, restore_logits
from unet_data.nnunet.case import Prepared, bounding_box
from unet_data.nnunet.intensity import normalize
from unet_data.nnunet.recipe import Resampling
from unet_data.nnunet.resample import new_shape, resample, separate_axis
from unet_data.nnunet.sliding import gaussian_weight, mirrored_views, predict_volume, tile_starts
from unet_spec import InputError

CUBIC, LINEAR = Resampling(3, 0, None), Resampling(1, 0, None)
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
REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}


def recipe(dataset: dict = DATASET, **changes) -> Recipe:
    return Recipe.from_nnunet(plans(**changes), dataset, "3d_fullres")


@pytest.mark.parametrize(
    ("scheme", "values", "wanted"),
    [
        ("ZScoreNormalization", [0, 2, 4, 6], np.array([-3, -1, 1, 3]) / np.sqrt(5)),
        ("CTNormalization", [-5, 2, 6, 50], [-0.75, 0, 1, 2]),
        ("NoNormalization", [0, 2, 4, 6], [0, 2, 4, 6]),
        ("RescaleTo01Normalization", [2, 4, 6, 10], [0, 0.25, 0.5, 1]),
        ("RGBTo01Normalization", [0, 51, 102, 255], [0, 0.2, 0.4, 1]),
    ],
)
def test_normalisation_by_hand(scheme, values, wanted):
    image = np.array(values, np.float32).reshape(1, 2, 2)
    np.testing.assert_allclose(normalize(image, scheme, None, MEASURED).ravel(), wanted, rtol=1e-6)


def test_a_mask_confines_the_z_score():
    image = np.array([0, 2, 6, 0], np.float32).reshape(1, 2, 2)
    mask = np.array([False, True, True, False]).reshape(1, 2, 2)
    np.testing.assert_allclose(normalize(image, "ZScoreNormalization", mask, {}).ravel(), [0, -1, 1, 0])
    with pytest.raises(InputError, match="RGBTo01"):
        normalize(np.full((1, 1, 1), 256.0, np.float32), "RGBTo01Normalization", None, {})


def test_shapes_and_the_axis_of_low_resolution():
    assert new_shape((20, 64, 64), (4.0, 0.9, 0.7), (2.5, 0.8, 0.8)) == (32, 72, 56)
    assert separate_axis((4, 0.9, 0.7), (1, 1, 1), None) == 0
    assert separate_axis((1, 1, 1), (1, 5, 1), None) == 1
    assert separate_axis((1, 1, 3), (1, 1, 1), None) is None  # not more than threefold
    assert separate_axis((0.2, 1, 1), (1, 1, 1), None) is None  # two such axes
    assert separate_axis((1, 1, 2), (1, 1, 1), True) == 2
    assert separate_axis((1, 1, 9), (1, 1, 1), False) is None


def test_linear_resampling_by_hand():
    """Pixel centres at half-integers: doubled, a step from 0 to 4 passes through 1 and 3."""
    line = np.array([0.0, 4.0]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(resample(line, (1, 1, 4), (1, 1, 2), (1, 1, 1), LINEAR).ravel(), [0, 1, 3, 4])


def test_a_coarse_axis_is_repeated_not_interpolated():
    column = np.array([0.0, 4.0]).reshape(1, 2, 1, 1)
    np.testing.assert_array_equal(resample(column, (4, 1, 1), (8, 1, 1), (4, 1, 1), LINEAR).ravel(), [0, 0, 4, 4])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    ("how", "spacing"), list(itertools.product((CUBIC, LINEAR), ((2.0, 2.0, 2.0), (9.0, 2.0, 2.0))))
)
def test_resampling_is_scikit_images_resize(dtype, how, spacing):
    """Value for value after rounding to the dtype, in the volume and slice by slice."""
    transform = pytest.importorskip("skimage.transform")
    volume = np.random.default_rng(0).normal(size=(2, 5, 12, 9)).astype(dtype)
    shape = (8, 7, 14)
    found = resample(volume, shape, spacing, (1.0, 1.0, 1.0), how)
    assert found.dtype == dtype
    for channel, values in zip(found, volume.astype(np.float64), strict=True):
        if spacing[0] == 2:
            wanted = transform.resize(values, shape, how.order, mode="edge", anti_aliasing=False)
        else:
            slices = [transform.resize(v, shape[1:], how.order, mode="edge", anti_aliasing=False) for v in values]
            at = np.clip(np.floor(5 / 8 * (np.arange(8) + 0.5)), 0, 4).astype(int)
            wanted = np.stack(slices)[at]
        np.testing.assert_array_equal(channel, wanted.astype(dtype))


def test_cropping_to_the_non_zero_box():
    mask = np.zeros((4, 5, 6), bool)
    assert bounding_box(mask) == (slice(0, 4), slice(0, 5), slice(0, 6))
    mask[1, 2, 3] = mask[2, 4, 3] = True
    assert bounding_box(mask) == (slice(1, 3), slice(2, 5), slice(3, 4))


def test_a_case_goes_in_transposed_cropped_and_resampled():
    values = plans(spacing=[1.0, 1.0, 2.0], normalization_schemes=["NoNormalization"])
    values["transpose_forward"] = [2, 0, 1]
    image = np.zeros((1, 6, 8, 10), np.int16)
    image[0, 1:5, 2:6, 3:7] = np.arange(1, 65).reshape(4, 4, 4)
    own = Recipe.from_nnunet(values, DATASET, "3d_fullres")
    case = prepare_case(image, (1.0, 1.0, 1.0), own)
    assert case.whole == (10, 6, 8)
    assert case.box == (slice(3, 7), slice(1, 5), slice(2, 6))
    assert case.volume.shape == (1, 4, 4, 2)
    wanted = ndimage.zoom(np.arange(1, 65.0).reshape(4, 4, 4).transpose(2, 0, 1), (1, 1, 0.5), order=3, mode="nearest",
                          grid_mode=True)  # fmt: skip
    np.testing.assert_allclose(case.volume[0], wanted.clip(1, 64), rtol=1e-6)
    logits = np.zeros((2, 4, 4, 2))
    logits[1] = 1
    labels = labels_of(restore_logits(logits, case, own), case, own)
    np.testing.assert_array_equal(labels, image[0] > 0)
    chances = probabilities_of(restore_logits(logits, case, own), case, own)
    inside, outside = 1 / (1 + np.exp(-1)), 0
    np.testing.assert_allclose(chances[1], np.where(image[0] > 0, inside, outside), rtol=1e-6)


def test_regions_write_their_labels_in_order():
    own = recipe(DATASET | {"labels": REGIONS, "regions_class_order": [1, 2]})
    assert own.heads == 2
    case = Prepared(
        np.zeros((1, 1, 1, 4), np.float32), (1,) * 3, (1,) * 3, (1, 1, 4), (slice(0, 1),) * 2 + (slice(0, 4),)
    )
    logits = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1.0]]).reshape(2, 1, 1, 4)
    np.testing.assert_array_equal(labels_of(logits, case, own).ravel(), [0, 1, 2, 2])
    np.testing.assert_allclose(probabilities_of(logits, case, own)[0].ravel(), 1 / (1 + np.exp([1, -1, -1, 1])))


def test_tiles_of_a_sliding_window():
    """nnU-Net's own example: 110 voxels, tiles of 64, half a tile apart."""
    assert tile_starts(110, 64, 0.5) == [0, 23, 46]
    assert tile_starts(64, 64, 0.5) == [0]
    assert tile_starts(65, 64, 0.5) == [0, 1]
    assert mirrored_views((0, 1)) == [(), (1,), (2,), (1, 2)]


def test_the_weight_is_a_gaussian_of_an_eighth():
    weight = gaussian_weight((32, 16))
    assert weight.dtype == np.float16
    assert weight[16, 8] == 10
    np.testing.assert_allclose(weight[20, 8] / weight[16, 8], np.exp(-0.5), rtol=2e-3)
    np.testing.assert_allclose(weight[16, 10] / weight[16, 8], np.exp(-0.5), rtol=2e-3)
    assert weight.min() > 0


def test_the_window_of_a_pointwise_network_is_the_network():
    """Overlaps, flips, folds and padding cancel where a voxel's logits depend on that voxel alone."""
    volume = np.random.default_rng(0).normal(size=(1, 3, 9, 5)).astype(np.float32)
    runs = [lambda x, k=k: np.concatenate([x * k, -x], -1) for k in (1, 3)]
    found = predict_volume(runs, volume, (4, 4, 4), 2, mirror_axes=(0, 1, 2), accumulate="float32", batch=3)
    np.testing.assert_allclose(found, np.concatenate([2 * volume, -volume]), rtol=1e-5, atol=1e-6)
    half = predict_volume(runs, volume, (4, 4, 4), 2, mirror_axes=(0, 1, 2), accumulate="half")
    assert half.dtype == np.float16
    # Only in the middle of a tile: towards its corners, nnU-Net's weights are the last few numbers of float16.
    np.testing.assert_allclose(half[:, 2, 2:8:2, 2], found[:, 2, 2:8:2, 2], rtol=2e-3)
    flat = predict_volume(runs[:1], volume, (4, 4), 2, mirror_axes=(1,), accumulate="float32")
    np.testing.assert_allclose(flat, np.concatenate([volume, -volume]), rtol=1e-5, atol=1e-6)


def test_the_window_weighs_where_a_voxel_lies_in_its_tile():
    """A network that answers with the place in the tile: by hand, the mean of places under the weights."""
    places = np.arange(4.0, dtype=np.float32).reshape(1, 1, 4, 1)
    volume = np.ones((1, 1, 1, 6), np.float32)
    found = predict_volume([lambda x: x * places], volume, (1, 4), 1, accumulate="float32").ravel()
    weight = gaussian_weight((1, 4)).astype(np.float64).ravel()
    total, sums = np.zeros(6), np.zeros(6)
    for start in (0, 2):
        sums[start : start + 4] += weight * np.arange(4)
        total[start : start + 4] += weight
    np.testing.assert_allclose(found, sums / total, rtol=1e-6)


def test_sums_in_half_precision_are_nnunets():
    """Each tile is weighted and added in float32, and the sum rounded to float16 every time."""
    volume = np.linspace(0.1, 0.7, 6, dtype=np.float32).reshape(1, 1, 1, 6)
    found = predict_volume([lambda x: x], volume, (1, 4), 1).ravel()
    weight = gaussian_weight((1, 4)).ravel()
    sums, total = np.zeros(6, np.float16), np.zeros(6, np.float16)
    for start in (0, 2):
        part = slice(start, start + 4)
        added = volume.ravel()[part] * weight.astype(np.float32)
        sums[part] = (sums[part].astype(np.float32) + added).astype(np.float16)
        total[part] = (total[part].astype(np.float32) + weight.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(found, (sums.astype(np.float32) / total.astype(np.float32)).astype(np.float16))


def test_a_network_of_another_shape_and_sums_too_large_are_refused():
    volume = np.ones((1, 4, 4, 4), np.float32)
    with pytest.raises(InputError, match="expected"):
        predict_volume([lambda x: x], volume, (4, 4, 4), 2)
    with pytest.raises(InputError, match="float16"):
        predict_volume([lambda x: x * 1e5], volume, (4, 4, 4), 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"normalization_schemes": ["Magic"]}, "unknown normalization scheme 'Magic'"),
        ({"resampling_fn_data": "resample_torch_fornnunet"}, "unknown resampling_fn_data"),
        ({"use_mask_for_norm": []}, "0 use_mask_for_norm for 1 channels"),
        ({"previous_stage": "3d_lowres"}, "second stage of a cascade"),
        ({"spacing": [1.0]}, "must both have 2 or 3 axes"),
        ({"inherits_from": "2d"}, "no usable configuration '2d'"),
    ],
)
def test_plans_that_cannot_be_followed_are_named(changes, told):
    with pytest.raises(InputError, match=told):
        recipe(**changes)


def test_a_recipe_survives_its_file(tmp_path):
    own = Recipe.from_nnunet(plans(), DATASET, "3d_fullres", (0, 2), ("fold_0", "fold_1"), "nnUNetTrainer_5epochs")
    own.save(tmp_path)
    assert Recipe.load(tmp_path) == own
    (tmp_path / "nnunet.json").write_text("{}")
    with pytest.raises(InputError, match="expected format 'unet-nnunet'"):
        Recipe.load(tmp_path)
    (tmp_path / "nnunet.json").write_text(own.to_json().replace('"plans": {', '"plans": [{').rstrip()[:-1] + "]}")
    with pytest.raises(InputError, match=r"nnunet\.json"):
        Recipe.load(tmp_path)


@pytest.mark.parametrize(
    ("image", "spacing", "told"),
    [
        (np.zeros((2, 4, 4, 4)), (1.0, 1.0, 1.0), "1 channels: CT"),
        (np.zeros((1, 4, 4)), (1.0, 1.0, 1.0), "expected"),
        (np.zeros((1, 4, 4, 4)), (1.0, 0.0, 1.0), "positive"),
        (np.full((1, 4, 4, 4), np.nan), (1.0, 1.0, 1.0), "64 NaN"),
        (np.ones((1, 4, 4, 4)), (0.01, 0.01, 0.01), "none left"),
    ],
)
def test_images_that_cannot_be_prepared_are_named(image, spacing, told):
    with pytest.raises(InputError, match=told):
        prepare_case(image, spacing, recipe())
