"""Augmentation: distributions, exact mirror images, one warp for image, label and weight."""

from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest

from unet_jax.training.augmentation.augment import NONE, Augmentation, _coordinates, augment, bicubic_matrix
from unet_jax.training.run.values import RunValues
from unet_jax.training.settings import TrainSettings
from unet_jax.training.step import make_prepare
from unet_spec import InputError

TILES = [(13, 17), (5, 7, 9)]  # odd, so that pixels coincide with all 3 control points of an axis
COUNT = 400


def alone(elastic=0.0, rotation=0.0, mirror=False, contrast=0.0, brightness=0.0):
    return Augmentation(elastic, rotation, mirror, contrast, brightness)


def sources(how, tile, window, count=COUNT):
    """(count, axes, *tile): source position of each pixel, relative to the middle of the window."""
    image = np.moveaxis(np.indices(window, np.float32), 0, -1)
    labels = np.zeros((count, *window), np.int32)
    images = np.broadcast_to(image, (count, *image.shape))
    found, _, _ = jax.jit(lambda i, n: augment(jax.random.key(0), i, n, tile, how))(images, labels)
    return np.moveaxis(np.asarray(found, np.float64) - (np.array(window) - 1) / 2, -1, 1)


def at_rest(tile):
    return np.stack([n - (length - 1) / 2 for n, length in zip(np.indices(tile), tile, strict=True)])


def cubic(values, size):
    """Interpolates the first axis to `size` pixels: each interval is a cubic with the control values at its ends, whose
    slope is half the difference of the two neighbours (Keys 1981, a = −1/2, in Hermite form)."""
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


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("sigma", [0.5, 2.0])
def test_elastic_displacements_are_normal_at_the_control_points_and_cubic_between(tile, sigma):
    window = tuple(n + 2 * round(6 * sigma) for n in tile)
    moved = sources(alone(elastic=sigma), tile, window) - at_rest(tile)
    points = (..., *(slice(None, None, (n - 1) // 2) for n in tile))
    control = moved[points]
    assert control.shape[1:] == (len(tile), *(3,) * len(tile))
    values = control.reshape(COUNT, -1)
    assert abs(values.std() / sigma - 1) < 0.03  # at least 7,200 numbers: at least 3.6 standard errors
    assert kstest(values.ravel(), "norm", (0, sigma)).pvalue > 0.001
    between = np.corrcoef(values.T) - np.eye(values.shape[1])
    assert np.abs(between).max() < 6 / np.sqrt(COUNT)  # each axis of each point is drawn independently
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
    turned = found[:, -2] + 1j * found[:, -1]  # the plane as complex numbers, so that a rotation is a factor
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


def test_turns_and_mirror_images_are_the_eight_ways_a_square_lies_on_itself():
    how = Augmentation(0.0, 0.0, True, 0.0, 0.0, turns=True)
    label = np.arange(100, dtype=np.int32).reshape(10, 10)
    image = np.random.default_rng(0).normal(size=how.window((10, 10))).astype(np.float32)
    middle = [(n - 10) // 2 for n in image.shape]
    inner = image[middle[0] : middle[0] + 10, middle[1] : middle[1] + 10]
    labels = np.zeros(image.shape, np.int32)
    labels[middle[0] : middle[0] + 10, middle[1] : middle[1] + 10] = label
    many = [np.broadcast_to(a, (COUNT, *a.shape)) for a in (image[..., None], labels)]
    found, numbers, _ = jax.jit(lambda i, n: augment(jax.random.key(0), i, n, (10, 10), how))(*many)
    seen = []
    for turned, flipped in product(range(4), (False, True)):
        expected = [np.rot90(a, turned) for a in (label, inner)]
        expected = [np.flip(a, 1) if flipped else a for a in expected]
        same = (np.asarray(numbers) == expected[0]).reshape(COUNT, -1).all(1)
        np.testing.assert_array_equal(
            np.asarray(found)[same, ..., 0], np.broadcast_to(expected[1], (same.sum(), 10, 10))
        )
        seen.append(same.sum())
    assert sum(seen) == COUNT
    assert np.abs(np.array(seen) / COUNT - 1 / 8).max() < 4 * np.sqrt(7 / 64 / COUNT)


@pytest.mark.parametrize("tile", TILES)
def test_scale_is_one_factor_and_stays_in_the_window(tile):
    how = Augmentation(0.0, 0.0, False, 0.0, 0.0, scale=0.25)
    window = how.window(tile)
    found, rest = sources(how, tile, window), at_rest(tile)
    assert (np.abs(found).max((0, *range(2, found.ndim))) <= (np.array(window) - 1) / 2 + 1e-4).all()
    factor = (found * rest).sum(tuple(range(1, found.ndim))) / (rest**2).sum()
    np.testing.assert_allclose(found, factor.reshape(-1, *(1,) * rest.ndim) * rest, atol=1e-4)
    assert_uniform(np.log(factor), np.log(1.25))


def test_scale_and_rotation_are_drawn_independently():
    tile, how = (5, 5), Augmentation(0.0, 90.0, False, 0.0, 0.0, scale=0.25)
    found, (y, x) = sources(how, tile, how.window(tile)), at_rest(tile)
    factor = ((found[:, 0] + 1j * found[:, 1]) * (y - 1j * x)).sum((1, 2))
    assert abs(np.corrcoef(np.log(np.abs(factor)), np.angle(factor))[0, 1]) < 4 / np.sqrt(COUNT)


@pytest.mark.slow
def test_a_share_of_the_tiles_is_warped_and_the_others_keep_their_pixels():
    """Elastic deformation, rotation and scale are drawn independently."""
    tile, changed = (13, 13), []
    for change in ({"elastic": 2.0}, {"rotation": 90.0}, {"scale": 0.3}):
        how = Augmentation(
            **{"elastic": 0.0, "rotation": 0.0, "mirror": False, "contrast": 0.0, "brightness": 0.0} | change
        )
        how = replace(how, share=0.5)
        moved = np.abs(sources(how, tile, how.window(tile)) - at_rest(tile)).reshape(COUNT, -1).max(1)
        assert (moved[moved < 1e-5] == 0).all()
        changed.append(moved > 0)
        assert abs(changed[-1].mean() - 0.5) < 4 * np.sqrt(0.25 / COUNT)
    assert np.abs(np.corrcoef(changed) - np.eye(3)).max() < 4 / np.sqrt(COUNT)


@pytest.mark.parametrize(("contrast", "brightness"), [(0.3, 0.2), (0.3, 0.0), (0.0, 0.2)])
def test_greys_change_by_one_factor_and_one_offset_an_image(contrast, brightness):
    image = np.random.default_rng(0).normal(size=(5, 6, 2)).astype(np.float32)
    label = np.arange(30, dtype=np.int32).reshape(5, 6)
    many = [jnp.broadcast_to(a, (COUNT, *a.shape)) for a in (image, label, image[..., 0])]
    how = alone(contrast=contrast, brightness=brightness)
    run = jax.jit(lambda i, n, w: augment(jax.random.key(0), i, n, (5, 6), how, w))
    images, labels, weights = run(*many)
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


SGD = TrainSettings().replace(
    steps=100, tile=28, optimizer="sgd", schedule="constant", learning_rate=0.1, momentum=0.0, weight_decay=0.0,
    clip=None, augmentation=NONE,
)  # fmt: skip
RNG = np.random.default_rng(0)


def key_data(key):
    return jax.random.key_data(key).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        *({"elastic": 3.0}, {"rotation": 180.0}, {"mirror": True}, {"contrast": 0.2}, {"scale": 0.2}, {"blur": 1.0}),
        *({"low_resolution": 1.0}, {"gamma": 0.5}, {"noise": 0.1}),
    ],
)
def test_each_seed_and_each_step_draws_its_own_variation(how):
    how = Augmentation(**({"elastic": 0.0, "rotation": 0.0, "mirror": False, "contrast": 0.0, "brightness": 0.0} | how))
    window = how.window((28, 28))
    images = RNG.normal(size=(4, *window, 1)).astype(np.float32)
    given = images, (images[..., 0] > 0).astype(np.int32)
    found = {}
    for seed in (0, 1):
        settings = SGD.replace(seed=seed, augmentation=how)
        prepare = partial(jax.jit(make_prepare(settings, (28, 28))), RunValues.of(settings, [0.0], [1.0]))
        for step in (0, 1):
            image, _, _, drop = prepare(step, given)
            found[seed, step] = np.asarray(image).tobytes(), str(key_data(drop))
            assert np.asarray(prepare(step, given)[0]).tobytes() == found[seed, step][0]
    for part in zip(*found.values(), strict=True):
        assert len(set(part)) == 4


def test_the_angle_says_nothing_of_the_mirror_images():
    """Each change is drawn with a separate key."""
    how = Augmentation(elastic=0.0, rotation=90.0, mirror=True, contrast=0.0, brightness=0.0)
    size = how.window((9, 9))
    image = np.moveaxis(np.indices(size, np.float32), 0, -1) - (np.array(size) - 1) / 2
    many = np.broadcast_to(image.astype(np.float32), (400, *image.shape))
    found, _, _ = jax.jit(lambda i, n: augment(jax.random.key(0), i, n, (9, 9), how))(
        many, np.zeros(many.shape[:-1], int)
    )
    found = np.asarray(found, np.float64) / 4
    down, right = (
        found[:, 8, 4],
        found[:, 4, 8],
    )  # relative to the centre: (± cos, ± sin), (∓ sin, ± cos), cos is not negative
    signs = np.sign([down[:, 0], right[:, 1]])
    angle = np.arcsin(np.clip(signs[1] * down[:, 1], -1, 1))
    for sign in signs:
        assert 150 < (sign > 0).sum() < 250
        assert abs(np.corrcoef(sign, angle)[0, 1]) < 0.2


def test_what_a_warp_needs_lies_in_the_window():
    """Three standard deviations: very few pixels come from beyond the window's edge."""
    how = Augmentation(elastic=10.0, rotation=0.0, mirror=False, contrast=0.0, brightness=0.0)
    tile, window = (33, 65), how.window((33, 65))
    keys = jax.random.split(jax.random.key(0), 100)
    found = np.asarray(jax.jit(jax.vmap(lambda key: _coordinates(key, how, tile, window)))(keys))
    last = np.array(window).reshape(2, 1, 1) - 1
    assert ((found < 0) | (found > last)).mean() < 0.001
    assert found.max() > max(tile)  # and the window is larger than the tile


@pytest.mark.parametrize("dims", [2, 3])
def test_image_label_and_weight_share_one_warp(dims):
    how = Augmentation(elastic=2.0, rotation=180.0, mirror=True, contrast=0.0, brightness=0.0)
    tile = (20, 24) if dims == 2 else (8, 12, 16)
    window = how.window(tile)
    ramp = np.indices(window).sum(0).astype(np.float32)  # neighbouring pixels differ by at most one per axis
    images = np.stack([ramp, ramp])[..., None]
    warp = jax.jit(lambda k: augment(k, images, images[..., 0].astype(np.int32), tile, how, images[..., 0]))
    for seed in range(3):
        image, label, weight = warp(jax.random.key(seed))
        assert image.shape == (2, *tile, 1)
        np.testing.assert_array_equal(image[..., 0], weight)
        assert np.abs(np.asarray(label) - np.asarray(weight)).max() <= dims / 2 + 1e-3
        assert np.abs(np.asarray(image[0]) - np.asarray(image[1])).max() > 1  # each image has a different warp


def test_augmentation_keeps_the_dtypes():
    """The tests enable float64, as users may; JAX then draws float64 by default."""
    how = Augmentation()
    window = how.window((28, 28))
    given = (
        jnp.ones((2, *window, 1), jnp.float32),
        jnp.ones((2, *window), jnp.int32),
        jnp.ones((2, *window), jnp.float32),
    )
    key = jax.random.key(0)
    found = jax.eval_shape(lambda x, y, w: augment(key, x, y, (28, 28), how, w), *given)
    assert [(x.shape, x.dtype) for x in found] == [((2, 28, 28, *g.shape[3:]), g.dtype) for g in given]


@pytest.mark.parametrize(
    ("change", "allowed"),
    [({"blur": 11.0}, "in 0 … 10"), ({"share": 1.5}, "in 0 … 1"), ({"elastic": -1.0}, "in 0 … 360")],
)
def test_what_leaves_nothing_of_an_image_is_refused(change, allowed):
    (name,) = change
    with pytest.raises(InputError, match=f"augmentation {name} is .*; it must be {allowed}$"):
        Augmentation(**change)
