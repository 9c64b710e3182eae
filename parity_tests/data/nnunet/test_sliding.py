"""nnU-Net's sliding window: tiles, Gaussian weights, sums in half precision."""

from __future__ import annotations

import numpy as np
import pytest

from unet_data.nnunet.sliding import SlidingWindow, gaussian_weight, predict_volume, tile_starts
from unet_spec import InputError


def test_tiles_of_a_sliding_window():
    """nnU-Net's own example: 110 voxels, tiles of 64, half a tile apart."""
    assert tile_starts(110, 64, 0.5) == [0, 23, 46]
    assert tile_starts(64, 64, 0.5) == [0]
    assert tile_starts(65, 64, 0.5) == [0, 1]
    assert SlidingWindow((8, 8), 1, (0, 1)).views == [(), (1,), (2,), (1, 2)]


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
    found = predict_volume(
        runs, volume, SlidingWindow((4, 4, 4), 2, mirror_axes=(0, 1, 2), accumulate="float32", batch=3)
    )
    np.testing.assert_allclose(found, np.concatenate([2 * volume, -volume]), rtol=1e-5, atol=1e-6)
    half = predict_volume(runs, volume, SlidingWindow((4, 4, 4), 2, mirror_axes=(0, 1, 2), accumulate="half"))
    assert half.dtype == np.float16
    # Only in the middle of a tile: towards its corners, nnU-Net's weights are the last few numbers of float16.
    np.testing.assert_allclose(half[:, 2, 2:8:2, 2], found[:, 2, 2:8:2, 2], rtol=2e-3)
    flat = predict_volume(runs[:1], volume, SlidingWindow((4, 4), 2, mirror_axes=(1,), accumulate="float32"))
    np.testing.assert_allclose(flat, np.concatenate([volume, -volume]), rtol=1e-5, atol=1e-6)


def test_the_window_weighs_where_a_voxel_lies_in_its_tile():
    """A network that answers with the place in the tile: by hand, the mean of places under the weights."""
    places = np.arange(4.0, dtype=np.float32).reshape(1, 1, 4, 1)
    volume = np.ones((1, 1, 1, 6), np.float32)
    found = predict_volume([lambda x: x * places], volume, SlidingWindow((1, 4), 1, accumulate="float32")).ravel()
    weight = gaussian_weight((1, 4)).astype(np.float64).ravel()
    total, sums = np.zeros(6), np.zeros(6)
    for start in (0, 2):
        sums[start : start + 4] += weight * np.arange(4)
        total[start : start + 4] += weight
    np.testing.assert_allclose(found, sums / total, rtol=1e-6)


def test_sums_in_half_precision_are_nnunets():
    """Each tile is weighted and added in float32, and the sum rounded to float16 every time."""
    volume = np.linspace(0.1, 0.7, 6, dtype=np.float32).reshape(1, 1, 1, 6)
    found = predict_volume([lambda x: x], volume, SlidingWindow((1, 4), 1)).ravel()
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
        predict_volume([lambda x: x], volume, SlidingWindow((4, 4, 4), 2))
    with pytest.raises(InputError, match="float16"):
        predict_volume([lambda x: x * 1e5], volume, SlidingWindow((4, 4, 4), 1))
