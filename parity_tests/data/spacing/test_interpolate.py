"""Interpolation between grids: by hand, against scipy and Pillow, and the same in every window."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from unet_data.spacing.interpolate import Axis, interpolated, voted

RNG = np.random.default_rng(0)


def whole(shape) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in shape)


def test_linear_by_hand():
    """Pixel centres at half-integers: doubled, a step from 0 to 4 passes through 1 and 3."""
    line = np.array([[0], [4]])
    np.testing.assert_array_equal(interpolated(line, [Axis(2, 4, 1)], whole((4,)))[:, 0], [0, 1, 3, 4])
    np.testing.assert_array_equal(interpolated(line, [Axis(2, 4, 0)], whole((4,)))[:, 0], [0, 0, 4, 4])


@pytest.mark.parametrize("after", [(7, 5), (20, 33)])
@pytest.mark.parametrize("order", [0, 1])
def test_it_is_scipys_zoom(order, after):
    before = (11, 13)
    image = RNG.normal(size=before).astype(np.float32)
    found = interpolated(image[..., None], [Axis(*n, order) for n in zip(before, after, strict=True)], whole(after))
    factors = [m / n for n, m in zip(before, after, strict=True)]
    expected = ndimage.zoom(image, factors, order=order, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(found[..., 0], expected, atol=1e-5)


def test_cubic_gives_every_parabola_back():
    """Third order: exact for polynomials up to the second degree, away from the edges."""
    axis = Axis(20, 33, 3)
    at = axis.positions(0, 33)
    found = interpolated((np.arange(20.0) ** 2 - 3 * np.arange(20.0))[:, None], [axis], whole((33,)))[:, 0]
    inner = (at > 1) & (at < 18)
    np.testing.assert_allclose(found[inner], (at**2 - 3 * at)[inner], atol=1e-4)


def test_cubic_is_pillows_when_enlarged():
    """Away from the edges, where Pillow leaves out what is beyond."""
    from PIL import Image

    image = RNG.normal(size=(9, 14)).astype(np.float32)
    found = interpolated(image[..., None], [Axis(9, 20, 3), Axis(14, 31, 3)], whole((20, 31)))[..., 0]
    expected = np.asarray(Image.fromarray(image).resize((31, 20), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=1e-4)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_windows_are_cut_out_of_the_whole_bit_for_bit(order):
    image = RNG.integers(0, 255, (9, 16, 12, 2), np.uint8)
    axes = [Axis(9, 9, order), Axis(16, 27, order), Axis(12, 5, order)]
    all_of_it = interpolated(image, axes, whole((9, 27, 5)))
    window = (slice(3, 7), slice(5, 27, 3), slice(0, 2))
    np.testing.assert_array_equal(interpolated(image, axes, window), all_of_it[window])


def test_integers_are_rounded_and_clipped():
    """A cubic overshoots at an edge; 250.5 is not cut down to 250.5's floor by the conversion."""
    line = np.array([0, 0, 255, 255, 255, 0], np.uint8)[:, None]
    axis = [Axis(6, 13, 3)]
    exact = interpolated(line, axis, whole((13,)))
    assert exact.min() < 0
    assert exact.max() > 255
    found = interpolated(line, axis, whole((13,)), same_dtype=True)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.clip(np.rint(exact), 0, 255))


@pytest.mark.parametrize("after", [(9, 22), (4, 40)])
def test_labels_are_the_largest_of_the_interpolated_masks(after):
    label = RNG.integers(0, 3, (6, 15)).astype(np.int32)
    axes = [Axis(n, m, 1) for n, m in zip(label.shape, after, strict=True)]
    masks = np.stack([interpolated((label == k)[..., None], axes, whole(after))[..., 0] for k in range(3)])
    [found] = voted([label], axes, whole(after))
    clear = np.sort(masks, 0)[-1] - np.sort(masks, 0)[-2] > 1e-5
    assert clear.mean() > 0.7
    np.testing.assert_array_equal(found[clear], masks.argmax(0)[clear])
    np.testing.assert_allclose(np.take_along_axis(masks, found[None], 0)[0], masks.max(0), atol=1e-6)


def test_classes_and_numbers_of_objects_stay_consistent():
    numbers = RNG.integers(0, 4, (8, 9)).astype(np.int32)
    classes = np.minimum(numbers, 1)
    axes = [Axis(8, 13, 1), Axis(9, 20, 1)]
    found = voted([classes, numbers], axes, whole((13, 20)))
    np.testing.assert_array_equal(found[0], np.minimum(found[1], 1))
    assert found[1].dtype == np.int32
    np.testing.assert_array_equal(voted([numbers], axes, whole((13, 20)))[0], found[1])
