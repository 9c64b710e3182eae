"""What the augmentation draws: each variation alone, its size and its distribution over many images.

Images whose channels hold their own coordinates come back as the coordinates that each pixel was taken from.
"""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from unet_jax.augment import NONE, Augmentation, augment, bicubic_matrix

TILES = [(13, 17), (5, 7, 9)]  # odd, so that pixels lie on all 3 control points of an axis
COUNT = 400


def alone(elastic=0.0, rotation=0.0, mirror=False, contrast=0.0, brightness=0.0):
    return Augmentation(elastic, rotation, mirror, contrast, brightness)


def sources(how, tile, window, count=COUNT):
    """(count, axes, *tile): where each pixel was taken from, from the middle of the window."""
    image = np.moveaxis(np.indices(window, np.float32), 0, -1)
    labels = np.zeros((count, *window), np.int32)
    images = np.broadcast_to(image, (count, *image.shape))
    found, _, _ = jax.jit(lambda i, n: augment(jax.random.key(0), i, n, tile, how))(images, labels)
    return np.moveaxis(np.asarray(found, np.float64) - (np.array(window) - 1) / 2, -1, 1)


def at_rest(tile):
    return np.stack([n - (length - 1) / 2 for n, length in zip(np.indices(tile), tile, strict=True)])


def cubic(values, size):
    """Spreads the first axis over `size` pixels: through each interval the cubic that has the control values at its
    ends, with the slope half the difference of the two neighbours (Keys 1981, a = −1/2, in Hermite's form)."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    found = []
    for place in np.arange(size) * (len(values) - 1) / (size - 1):
        i = min(int(place), len(values) - 2)
        before, start, end, after = padded[i : i + 4]
        t, rise, slopes = place - i, end - start, ((end - before) / 2, (after - start) / 2)
        bend = t * (1 - t) * ((1 - t) * (slopes[0] - rise) - t * (slopes[1] - rise))
        found.append(start + t * rise + bend)
    return np.stack(found)


def assert_uniform(values, limit):
    assert np.abs(values).max() <= limit * (1 + 1e-4)
    assert kstest(values, "uniform", (-limit, 2 * limit)).pvalue > 0.001


@pytest.mark.parametrize("points", [3, 5])
@pytest.mark.parametrize("step", [1, 2, 7, 16])
def test_bicubic_weights_are_keys(points, step):
    size = step * (points - 1) + 1
    matrix = bicubic_matrix(size, points)
    np.testing.assert_allclose(matrix, cubic(np.eye(points), size), atol=1e-6)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(matrix[::step], np.eye(points))


def test_bicubic_weights_between_control_points():
    np.testing.assert_allclose(bicubic_matrix(28, 3), cubic(np.eye(3), 28), atol=1e-6)
    np.testing.assert_array_equal(bicubic_matrix(1, 3), [[1, 0, 0]])


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_elastic_displacements_are_normal_at_the_control_points_and_cubic_between(tile, sigma):
    window = tuple(n + 2 * round(6 * sigma) for n in tile)
    moved = sources(alone(elastic=sigma), tile, window) - at_rest(tile)
    points = (..., *(slice(None, None, (n - 1) // 2) for n in tile))
    control = moved[points]
    assert control.shape[1:] == (len(tile), *(3,) * len(tile))
    values = control.reshape(COUNT, -1)
    assert abs(values.std() / sigma - 1) < 0.03  # of 7,200 numbers or more: 3.6 standard errors or more
    assert kstest(values.ravel(), "norm", (0, sigma)).pvalue > 0.001
    between = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(between).max() < 6 / np.sqrt(COUNT)  # each axis of each point is drawn by itself
    wanted = control
    for axis, n in enumerate(tile, start=2):
        wanted = np.moveaxis(cubic(np.moveaxis(wanted, axis, 0), n), 0, axis)
    np.testing.assert_allclose(moved, wanted, atol=2e-5 * max(window))


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("limit", [25.0, 180.0])
def test_rotation_is_rigid_in_the_plane_and_uniform(tile, limit):
    how = alone(rotation=limit)
    window = how.window(tile)
    found, rest = sources(how, tile, window), at_rest(tile)
    assert (np.abs(found).max((0, *range(2, found.ndim))) <= (np.array(window) - 1) / 2 + 1e-4).all()
    y, x = rest[-2:]
    turned = found[:, -2] + 1j * found[:, -1]  # the plane as complex numbers: a rotation is one factor
    factor = (turned * (y - 1j * x)).sum(tuple(range(1, turned.ndim))) / (y**2 + x**2).sum()
    np.testing.assert_allclose(np.abs(factor), 1, atol=1e-5)
    np.testing.assert_allclose(turned, factor.reshape(-1, *(1,) * y.ndim) * (y + 1j * x), atol=1e-4)
    np.testing.assert_allclose(found[:, :-2], np.broadcast_to(rest[:-2], found[:, :-2].shape), atol=1e-5)
    assert_uniform(np.rad2deg(np.angle(factor)), limit)


@pytest.mark.parametrize("tile", [(4, 7), (3, 4, 5)])
def test_mirror_images_are_exact_and_each_is_as_likely(tile):
    how = alone(mirror=True)
    assert how.window(tile) == tile
    image = np.random.default_rng(0).normal(size=tile).astype(np.float32)
    label = np.arange(image.size, dtype=np.int32).reshape(tile)
    many = [np.broadcast_to(a, (COUNT, *a.shape)) for a in (image[..., None], label, 2 * image)]
    found = jax.jit(lambda i, n, w: augment(jax.random.key(0), i, n, tile, how, w))(*many)
    images, labels, weights = map(np.asarray, found)
    seen = []
    for flips in product([False, True], repeat=len(tile)):
        axes = tuple(axis for axis, flipped in enumerate(flips) if flipped)
        same = (labels == np.flip(label, axes)).reshape(COUNT, -1).all(1)
        assert (images[same, ..., 0] == np.flip(image, axes)).all()
        assert (weights[same] == 2 * np.flip(image, axes)).all()
        seen.append(same.sum())
    assert sum(seen) == COUNT
    share = 1 / len(seen)
    assert np.abs(np.array(seen) / COUNT - share).max() < 4 * np.sqrt(share * (1 - share) / COUNT)


@pytest.mark.parametrize(("contrast", "brightness"), [(0.3, 0.2), (0.3, 0.0), (0.0, 0.2)])
def test_greys_change_by_one_factor_and_one_offset_an_image(contrast, brightness):
    image = np.random.default_rng(0).normal(size=(5, 6, 2)).astype(np.float32)
    label = np.arange(30, dtype=np.int32).reshape(5, 6)
    many = [jnp.broadcast_to(a, (COUNT, *a.shape)) for a in (image, label, image[..., 0])]
    how = alone(contrast=contrast, brightness=brightness)
    images, labels, weights = augment(jax.random.key(0), many[0], many[1], (5, 6), how, many[2])
    np.testing.assert_array_equal(labels, many[1])
    np.testing.assert_array_equal(weights, many[2])
    terms = np.stack([image.ravel(), np.ones(image.size)], 1)
    flat = np.asarray(images, np.float64).reshape(COUNT, -1).T
    factor, offset = np.linalg.lstsq(terms, flat)[0]
    np.testing.assert_allclose(terms @ np.stack([factor, offset]), flat, atol=1e-5)
    for drawn, limit in ((factor - 1, contrast), (offset, brightness)):
        if limit:
            assert_uniform(drawn, limit)
        else:
            np.testing.assert_allclose(drawn, 0, atol=1e-6)
    if contrast and brightness:
        assert abs(np.corrcoef(factor, offset)[0, 1]) < 4 / np.sqrt(COUNT)


@pytest.mark.parametrize("tile", TILES)
def test_none_changes_nothing(tile):
    assert NONE.window(tile) == tile
    images = jax.random.normal(jax.random.key(1), (2, *tile, 2), jnp.float32)
    labels = (images[..., 0] > 0).astype(jnp.int32)
    found = augment(jax.random.key(0), images, labels, tile, NONE, images[..., 1])
    for given, same in zip((images, labels, images[..., 1]), found, strict=True):
        np.testing.assert_array_equal(given, same)
