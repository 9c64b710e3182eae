"""Both algorithms for sampling a warped image give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.training.augmentation.augment import Augmentation, augment
from unet_jax.training.devices.warp import block_edge, sample, sample_by_blocks


def window_of(size, channels, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 30, (*size, channels)).astype(np.float32)
    return image, rng.integers(-1, 5, size).astype(np.int32), rng.random(size, np.float32)


def positions(size, tile, outside, seed=1):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-outside, n - 1 + outside, tile) for n in size]).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "channels", "weighted", "edge"),
    [
        ((31, 40), 1, False, 8),
        ((31, 40), 1, True, 6),
        ((9, 23), 3, True, 5),
        ((7, 11, 13), 1, False, 4),
        ((2, 5), 1, True, 6),
        ((6, 7), 40, False, 1),  # too many for a block, so they are read one by one
    ],
)
def test_blocks_give_the_numbers_of_single_reads(size, channels, weighted, edge):
    image, label, weight = window_of(size, channels)
    assert block_edge(channels + 1 + weighted, len(size)) == edge
    where = positions(size, (12, 17), outside=5.0)
    given = (image, label, weight if weighted else None, where)
    expected, actual = jax.jit(sample)(*given), jax.jit(sample_by_blocks)(*given)
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-6, atol=1e-4)
    np.testing.assert_array_equal(actual[1], expected[1])
    assert [a.dtype for a in actual[:2]] == [np.float32, np.int32]
    if weighted:
        np.testing.assert_allclose(actual[2], expected[2], atol=1e-6)
    else:
        assert actual[2] is None


def test_whole_numbers_at_and_beyond_every_edge():
    image, label, weight = window_of((5, 6), 2)
    where = np.stack(np.meshgrid(np.arange(-4.0, 9), np.arange(-5.0, 11), indexing="ij")).astype(np.float32)
    expected, actual = sample(image, label, weight, where), sample_by_blocks(image, label, weight, where)
    for a, b in zip(expected, actual, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_tpu_gathers_once_an_image():
    how, key = Augmentation(), jax.random.key(0)
    images, labels = jnp.ones((2, *how.window((28, 28)), 1)), jnp.zeros((2, *how.window((28, 28))), jnp.int32)
    lowered = {
        platform: jax.jit(lambda x, y, p=platform: augment(key, x, y, (28, 28), how, None, p)[:2]).lower(images, labels)
        for platform in ("cpu", "tpu")
    }
    counts = {platform: text.as_text().count('"stablehlo.gather"(') for platform, text in lowered.items()}
    assert counts == {"cpu": 5, "tpu": 1}


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_an_augmented_batch_is_the_same_on_every_platform(weighted):
    how, key, rng = Augmentation(elastic=3.0), jax.random.key(3), np.random.default_rng(0)
    size = (2, *how.window((30, 26)))
    images, labels = rng.normal(size=(*size, 2)).astype(np.float32), rng.integers(0, 3, size).astype(np.int32)
    weights = rng.random(size, np.float32) if weighted else None
    cpu, tpu = (augment(key, images, labels, (30, 26), how, weights, platform) for platform in ("cpu", "tpu"))
    np.testing.assert_allclose(cpu[0], tpu[0], atol=2e-6)
    np.testing.assert_array_equal(cpu[1], tpu[1])
    assert (cpu[2] is None) == (tpu[2] is None) == (not weighted)
