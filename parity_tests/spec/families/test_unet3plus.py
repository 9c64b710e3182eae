"""UNet3Plus: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.unet3plus import UNet3PlusConfig

from .stated import AXES, CHANNELS, NORM, WIDTHS, check_configs, check_range

SIZES = {
    "unet3+": (26_984_833, 128, 3_088_318_464),
    "unet3+-deep": (27_002_693, 136, 3_088_318_464),
    "narrow unet3+": (130_537, 86, 16_277_760),
    "narrow unet3+-deep": (131_692, 92, 16_277_760),
    "test unet3+": (2_285, 52, 427_725),
    "test unet3+-deep": (4_209, 92, 834_381),
    "test unet3+-aligned": (5_041, 52, 1_159_200),
    "test unet3+-3d": (4_882, 52, 18_373_500),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("unet3+", SIZES, CONSTANTS)


BASE = UNet3PlusConfig(widths=(2, 3))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
        *NORM,
        ("cat_channels", [1], [0], "at least 1"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
