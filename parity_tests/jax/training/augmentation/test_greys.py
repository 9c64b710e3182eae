"""Blur, low resolution, gamma and noise compared with independent implementations, and their frequencies."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.stats import kstest

from unet_jax.training.augmentation import augment, greys
from unet_jax.training.augmentation.augment import Augmentation
from unet_jax.training.augmentation.greys import blurred, change_greys, coarse, happens, log_factor

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(24, 31, 2)).astype(np.float32)
COUNT = 400


def many(**changes):
    """COUNT random changes of IMAGE."""
    keys = jax.random.split(jax.random.key(0), COUNT)
    return np.asarray(jax.jit(jax.vmap(lambda key: change_greys(key, jnp.asarray(IMAGE), **changes)))(keys))


def changed(**changes):
    """Whether each of many(…) differs from IMAGE."""
    return np.abs(many(**changes) - IMAGE).reshape(COUNT, -1).max(1) > 1e-5


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("deviation", [0.4, 1.3])
def test_blur_is_scipys(axis, deviation):
    found = blurred(jnp.asarray(IMAGE), axis, jnp.float32(deviation), 5)
    expected = gaussian_filter1d(IMAGE.astype(np.float64), deviation, axis, mode="mirror", radius=5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(blurred(jnp.asarray(IMAGE), axis, jnp.float32(0), 5), IMAGE)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("factor", [1.0, 1.7, 3.0])
def test_low_resolution_is_the_nearest_pixels_interpolated(axis, factor):
    found = np.asarray(coarse(jnp.asarray(IMAGE), axis, jnp.float32(factor)))
    n = IMAGE.shape[axis]
    nodes = factor * np.arange(math.ceil(n / factor) + 1)
    nearest = np.take(IMAGE, np.clip(np.rint(nodes), 0, n - 1).astype(int), axis)
    for other in range(IMAGE.shape[1 - axis]):
        line = np.take(found, other, 1 - axis)
        values = np.take(nearest, other, 1 - axis)
        for channel in range(2):
            expected = np.interp(np.arange(n), nodes, values[:, channel])
            np.testing.assert_allclose(line[:, channel], expected, atol=2e-5)


def test_gamma_keeps_the_extremes_and_the_order():
    found = many(gamma=0.5)
    low, high = IMAGE.min(), IMAGE.max()
    scaled, changed = (IMAGE - low) / (high - low), (found - low) / (high - low)
    inner = (scaled > 0.1) & (scaled < 0.9)
    exponents = np.log(changed[:, inner]) / np.log(scaled[inner])
    np.testing.assert_allclose(exponents, exponents[:, :1].repeat(inner.sum(), 1), rtol=1e-3)
    limit = math.log(1.5)
    assert kstest(np.log(exponents[:, 0]), "uniform", (-limit, 2 * limit)).pvalue > 0.001
    np.testing.assert_allclose(found.reshape(COUNT, -1).min(1), low, atol=1e-5)
    np.testing.assert_allclose(found.reshape(COUNT, -1).max(1), high, atol=1e-5)


def test_noise_is_normal_and_of_any_size_up_to_the_largest():
    noise = many(noise=0.3) - IMAGE
    deviations = noise.reshape(COUNT, -1).std(1)
    assert kstest(deviations, "uniform", (0, 0.3)).pvalue > 0.001
    assert kstest((noise / deviations[:, None, None, None])[::20].ravel(), "norm").pvalue > 0.001


CHANGES = {"blur": 3.0, "low_resolution": 0.7, "gamma": 0.7, "noise": 0.7}


@pytest.mark.slow
def test_a_share_of_the_images_is_changed_by_each_independently():
    """A blur of less than 0.2 pixels has no effect in float32."""
    found = [changed(**{name: most}, share=0.5) for name, most in CHANGES.items()]
    assert np.abs(np.mean(found, 1) - 0.5).max() < 4 * math.sqrt(0.25 / COUNT)
    assert np.abs(np.corrcoef(found) - np.eye(len(CHANGES))).max() < 4 / math.sqrt(COUNT)
    assert np.mean([changed(**{name: most}) for name, most in CHANGES.items()], 1).min() > 0.9


def test_a_factor_is_as_likely_to_enlarge_as_to_shrink():
    drawn = jax.vmap(lambda key: log_factor(key, 0.25))(jax.random.split(jax.random.key(0), COUNT))
    assert kstest(np.asarray(drawn), "uniform", (-math.log(1.25), 2 * math.log(1.25))).pvalue > 0.001
    np.testing.assert_array_equal(change_greys(jax.random.key(0), jnp.asarray(IMAGE)), IMAGE)


def test_a_change_happens_with_its_probability_and_independently_of_the_others():
    keys = jax.random.split(jax.random.key(0), COUNT)
    draws = jax.jit(jax.vmap(lambda key: jnp.stack([jnp.asarray(happens(key, 0.3, number)) for number in range(3)])))
    found = np.asarray(draws(keys))
    assert set(np.unique(found)) == {0.0, 1.0}
    assert np.abs(found.mean(0) - 0.3).max() < 4 * math.sqrt(0.21 / COUNT)
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 4 / math.sqrt(COUNT)
    assert happens(keys[0], 1, 0) == 1.0
    assert happens(keys[0], 0.0, 0) == 0.0


def switched(monkeypatch, function):
    """The compiled function of which changes happen (0 or 1, by number), and the draws: (probability, number)."""
    drawn = []

    def compiled(happening):
        def draw(key, share, number):
            drawn.append((share, number))
            return happening[number]

        for module in (greys, augment):
            monkeypatch.setattr(module, "happens", draw)
        return function()

    return jax.jit(compiled), drawn


def test_each_change_of_greys_is_left_out_by_a_draw_of_its_own(monkeypatch):
    image = IMAGE[:6, :9]
    run, drawn = switched(
        monkeypatch, lambda: change_greys(jax.random.key(3), jnp.asarray(image), 1.0, 0.7, 0.7, 0.7, share=0.4)
    )
    np.testing.assert_allclose(run(np.zeros(4, np.float32)), image, atol=1e-5)
    assert sorted(drawn) == [(0.4, number) for number in range(4)]
    for one in np.eye(4, dtype=np.float32):
        assert np.abs(run(one) - image).max() > 1e-3


def test_each_change_of_places_is_left_out_by_a_draw_of_its_own(monkeypatch):
    how = Augmentation(2.0, 90.0, False, 0.0, 0.0, scale=0.5, share=0.4)
    run, drawn = switched(monkeypatch, lambda: augment._coordinates(jax.random.key(3), how, (5, 7), (9, 15)))
    rest = np.indices((5, 7)) + np.array([2, 4]).reshape(2, 1, 1)
    np.testing.assert_allclose(run(np.zeros(9, np.float32)), rest, atol=1e-5)
    assert [share for share, _ in drawn] == [0.4] * 3
    assert len(set(drawn)) == 3
    for _, number in drawn:
        assert np.abs(run(np.eye(9, dtype=np.float32)[number]) - rest).max() > 0.05


def test_each_maximum_and_the_probability_reach_the_changes_of_greys(monkeypatch):
    given = []

    def change(key, image, *options):
        given.append(options)
        return image

    monkeypatch.setattr(augment, "change_greys", change)
    how = Augmentation(0.0, 0.0, False, 0.0, 0.0, blur=1.0, low_resolution=2.0, gamma=3.0, noise=4.0, share=0.5)
    images, labels = jnp.ones((2, 3, 4, 1)), jnp.zeros((2, 3, 4), int)
    jax.eval_shape(lambda: augment.augment(jax.random.key(0), images, labels, (3, 4), how))
    assert given == [(1.0, 2.0, 3.0, 4.0, 0.5)]


@pytest.mark.parametrize("reach", [2, 9])
def test_a_blur_reaches_no_further_than_it_is_asked_or_the_image_goes(reach):
    image = np.zeros((4, 1, 1), np.float32)
    image[0] = 1
    found = np.asarray(jax.jit(lambda: blurred(jnp.asarray(image), 0, jnp.float32(5.0), reach))())[:, 0, 0]
    assert (found[: min(reach, 3) + 1] > 0).all()
    assert (found[reach + 1 :] == 0).all()
    expected = gaussian_filter1d(image[:, 0, 0].astype(float), 5.0, mode="mirror", radius=min(reach, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)
