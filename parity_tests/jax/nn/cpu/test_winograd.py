"""Conditions under which Winograd's algorithm is used."""

import pytest

from unet_jax.nn.cpu import winograd


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
