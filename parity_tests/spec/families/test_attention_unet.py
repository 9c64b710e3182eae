"""AttentionUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.attention_unet import AttentionUNetConfig

from .stated import AXES, CHANNELS, NORM, WIDTHS, check_configs, check_range

SIZES = {
    "attention-unet": (31_751_034, 100, 659_288_064),
    "test attention-unet": (1_438, 31, 232_956),
    "test attention-unet-3d": (3_327, 31, 9_619_155),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("attention-unet", SIZES, CONSTANTS)


BASE = AttentionUNetConfig(widths=(2, 3))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
        *NORM,
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
