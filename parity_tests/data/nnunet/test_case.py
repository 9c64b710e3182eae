"""A case of nnU-Net: cropped, transposed and resampled, and back to labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unet_data.io.budget import memory_limit
from unet_data.nnunet import NnunetPlans, labels_of, prepare_case, probabilities_of, restore_logits
from unet_data.nnunet.case import Prepared, bounding_box
from unet_spec import InputError

from .example_plans import DATASET, checked_plans, plans

REGIONS = {"background": 0, "whole": [1, 2], "core": [2]}


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
    own = NnunetPlans(values, DATASET, "3d_fullres")
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
    own = checked_plans(DATASET | {"labels": REGIONS, "regions_class_order": [1, 2]})
    assert own.heads == 2
    case = Prepared(
        np.zeros((1, 1, 1, 4), np.float32), (1,) * 3, (1,) * 3, (1, 1, 4), (slice(0, 1),) * 2 + (slice(0, 4),)
    )
    logits = np.array([[-1, 1, 1, -1], [-1, -1, 1, 1.0]]).reshape(2, 1, 1, 4)
    np.testing.assert_array_equal(labels_of(logits, case, own).ravel(), [0, 1, 2, 2])
    np.testing.assert_allclose(probabilities_of(logits, case, own)[0].ravel(), 1 / (1 + np.exp([1, -1, -1, 1])))


@pytest.mark.parametrize(
    ("image", "spacing", "message"),
    [
        (np.zeros((2, 4, 4, 4)), (1.0, 1.0, 1.0), "1 channels: CT"),
        (np.zeros((1, 4, 4)), (1.0, 1.0, 1.0), "expected"),
        (np.zeros((1, 4, 4, 4)), (1.0, 0.0, 1.0), "positive"),
        (np.full((1, 4, 4, 4), np.nan), (1.0, 1.0, 1.0), "64 NaN"),
        (np.ones((1, 4, 4, 4)), (0.01, 0.01, 0.01), "has no voxel"),
    ],
)
def test_images_that_cannot_be_prepared_are_named(image, spacing, message):
    with pytest.raises(InputError, match=message):
        prepare_case(image, spacing, checked_plans())


def test_a_spacing_that_would_take_all_memory_is_refused():
    image = np.ones((1, 4, 40, 40), np.int16)
    own = NnunetPlans(plans(normalization_schemes=["NoNormalization"]), DATASET, "3d_fullres")
    with memory_limit(2**24), pytest.raises(InputError, match=r"voxels at .* mm need .* more than 16 MiB"):
        prepare_case(image, (100.0, 30.0, 30.0), own)
    for spacing in ((1e30, 1e30, 1.0), (1e-300, 1.0, 1e300)):
        with pytest.raises(InputError, match=r"cannot be resampled to|has no voxel"):
            prepare_case(image, spacing, own)


def test_the_memory_that_a_case_needs_is_stated(monkeypatch):
    """Per voxel: 24 bytes while a channel is resampled, 8 of each channel, 4 of each logit; and an axis' matrix."""
    asked = []
    monkeypatch.setattr("unet_data.nnunet.case.check_memory", lambda *given: asked.append(given))
    values = plans(
        spacing=[2.0, 1.0, 1.0], normalization_schemes=["NoNormalization"] * 3, use_mask_for_norm=[False] * 3
    )
    dataset = DATASET | {
        "channel_names": {"0": "a", "1": "b", "2": "c"},
        "labels": {"background": 0, "x": 1, "y": 2, "z": 3},
    }
    image = np.ones((3, 8, 10, 12), np.float32)
    prepare_case(image, (1.0, 1.0, 1.0), NnunetPlans(values, dataset, "3d_fullres"))
    ((what, needed, held, words),) = asked
    voxels = 4 * 10 * 12
    assert (what, held) == ("the image", image.nbytes)
    assert needed == voxels * (24 + 8 * 3 + 4 * 4) + 8 * max(4 * 8, 10 * 10, 12 * 12)
    assert words.startswith("4x10x12 voxels at (2.0, 1.0, 1.0) mm need")
