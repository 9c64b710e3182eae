"""nnU-Net's resampling by hand and against scikit-image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from unet_data.nnunet.plans import Resampling
from unet_data.nnunet.resample import new_shape, resample, separate_axis
from unet_spec import InputError

CUBIC, LINEAR = Resampling(3, 0, None), Resampling(1, 0, None)


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


def test_a_volume_that_has_its_shape_is_returned_as_it_is():
    volume = np.random.default_rng(0).normal(size=(2, 5, 6, 7))
    assert resample(volume, (5, 6, 7), (9, 1, 1), (1, 1, 1), CUBIC) is volume
    assert resample(volume, (3, 4, 5), (9, 1, 1), (1, 1, 1), Resampling(3, 0, None, none=True)) is volume
    assert resample(volume, (5, 6, 8), (1, 1, 1), (1, 1, 1), CUBIC).shape == (2, 5, 6, 8)


@pytest.mark.parametrize("spacing", [0.0, -1.0, float("nan")])
def test_a_spacing_without_a_number_of_voxels_is_refused(spacing):
    with pytest.raises(InputError, match=r"an image of \(4, 5, 6\) voxels"):
        new_shape((4, 5, 6), (1.0, 1.0, 1.0), (1.0, spacing, 1.0))
    with pytest.raises(InputError, match="cannot be resampled"):
        new_shape((2**31, 5, 6), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
