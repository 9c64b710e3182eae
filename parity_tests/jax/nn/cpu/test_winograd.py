"""Winograd's algorithm: where it is used, and what it computes and nothing else."""

import jax
import jax.numpy as jnp
import pytest

from unet_jax.nn.cpu import volumes, winograd
from unet_jax.nn.cpu.convolution import conv, convolve

from .cases import everywhere


@pytest.mark.parametrize(
    ("shape", "features", "wanted"),
    [
        ((1, 138, 138, 64), 64, True),
        ((4, 58, 58, 64), 64, True),  # the products of all images are counted
        ((1, 46, 46, 64), 64, False),  # the sixteen products are too small
        ((1, 282, 282, 32), 32, False),  # too few channels
        ((1, 282, 282, 64), 64, False),  # too few channels for tiles that exceed the cache
        ((1, 282, 282, 128), 128, True),
        ((1, 137, 138, 64), 64, False),
        ((1, 138, 137, 64), 64, False),
        ((1, 2, 9000, 512), 512, False),
    ],
)
def test_where_it_is_faster(shape, features, wanted):
    assert winograd.is_profitable(shape, features) is wanted


@pytest.mark.parametrize(
    ("shape", "kernel", "wanted"),
    [
        ((1, 9, 66, 66, 10), (3, 3, 3, 10, 17), True),  # 30 channels beside each other: 30 · 17 / 47 = 10.9
        ((1, 9, 66, 66, 10), (3, 3, 3, 10, 15), False),  # 30 · 15 / 45 is 10, but the products are too small
        ((1, 9, 70, 70, 10), (3, 3, 3, 10, 15), True),  # 34 · 34 · 30 · 15 = 520,200
        ((1, 9, 90, 90, 10), (3, 3, 3, 10, 14), False),  # 30 · 14 / 44 = 9.5
        ((1, 9, 90, 90, 64), (1, 3, 3, 64, 64), False),  # one plane: images
        ((1, 9, 90, 90, 64), (2, 3, 3, 64, 64), True),
        ((1, 9, 90, 90, 64), (3, 1, 3, 64, 64), False),
        ((1, 9, 90, 90, 64), (3, 3, 1, 64, 64), False),
        ((1, 9, 89, 90, 64), (3, 3, 3, 64, 64), False),
        ((1, 9, 90, 89, 64), (3, 3, 3, 64, 64), False),
        ((1, 9, 2, 900, 512), (3, 3, 3, 512, 512), False),
        ((1, 9, 4, 4, 999), (3, 3, 3, 999, 999), True),
    ],
)
def test_where_it_is_faster_for_volumes(shape, kernel, wanted):
    assert volumes.is_profitable_in_planes(shape, kernel) is wanted


def test_the_limits_are_those_that_were_measured():
    assert (winograd._SAVED, winograd._SAVED_IN_MEMORY, winograd._SMALLEST, winograd._IN_CACHE) == (20, 60, 5e6, 2**23)
    assert (volumes._SAVED, volumes._SMALLEST) == (10, 5e5)


def counted(function, *given):
    """Numbers of additions or subtractions, of divisions and of matrix products in a program."""
    text = str(jax.make_jaxpr(function)(*given))
    return text.count("= add ") + text.count("= sub "), text.count("= div "), text.count("= dot_general[")


def test_as_many_additions_as_in_the_paper(monkeypatch):
    """Section 4.1 of Lavin and Gray: 32 for a tile of the input, 28 operations for the kernel, 24 for the output. Here
    the kernel has 28 additions and 14 divisions by 2, since (a + c) is not shared."""
    everywhere(monkeypatch)
    x, kernel, g = jnp.ones((1, 6, 8, 2)), jnp.ones((3, 3, 2, 4)), jnp.ones((1, 4, 6, 4))
    assert counted(convolve, x, kernel) == (32 + 28 + 24, 14, 16)
    twice = counted(lambda x: jax.vjp(lambda x: convolve(x, kernel), x)[1](g), x)
    assert twice == (2 * (32 + 28 + 24), 28, 32)


@pytest.mark.parametrize("window", [(1, 1), (3, 3)])
def test_products_keep_the_full_precision_where_the_default_is_lower(monkeypatch, window):
    everywhere(monkeypatch)
    x, kernel = jnp.ones((1, 6, 8, 2), jnp.float32), jnp.ones((*window, 2, 4), jnp.float32)
    with jax.default_matmul_precision("bfloat16"):
        text = str(jax.make_jaxpr(lambda x, k: conv(x, k, None, [(0, 0), (0, 0)]))(x, kernel))
    assert text.count("dot_general[") == text.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") > 0
