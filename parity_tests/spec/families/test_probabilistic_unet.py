"""ProbabilisticUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.probabilistic_unet import ProbabilisticUNetConfig

from .stated import AXES, CHANNELS, WIDTHS, check_configs, check_range

SIZES = {
    "probabilistic-unet": (4_999_449, 125, 169_447_680),
    "narrow probabilistic-unet": (314_457, 125, 10_677_312),
    "test probabilistic-unet": (2_470, 53, 354_648),
    "test probabilistic-unet-3d": (1_046, 39, 2_545_680),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("probabilistic-unet", SIZES, CONSTANTS)


BASE = ProbabilisticUNetConfig(widths=(2, 3))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
        ("convolutions", [1], [0], "at least 1"),
        ("latent", [1], [0], "at least 1"),
        ("fcomb", [2], [1], "at least 2"),
        ("beta", [0.0], [-0.1], "at least 0"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)


def test_the_weight_of_the_divergence_is_that_of_the_reference():
    assert ProbabilisticUNetConfig().beta == 10.0
