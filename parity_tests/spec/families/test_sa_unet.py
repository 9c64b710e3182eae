"""SAUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.sa_unet import SAUNetConfig

from .stated import AXES, CHANNELS, NORM, WIDTHS, check_configs, check_range

SIZES = {
    "sa-unet": (538_707, 73, 21_492_594),
    "test sa-unet-drop": (978, 35, 171_234),
    "test sa-unet": (2_262, 44, 263_750),
    "test sa-unet-3d": (1_922, 29, 4_389_309),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"keep": [0.9], "eps": [0.001], "momentum": [0.01]},
    "test sa-unet": {"eps": [0.001], "momentum": [0.01]},
    "test sa-unet-3d": {"eps": [0.001], "momentum": [0.01]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("sa-unet", SIZES, CONSTANTS)


BASE = SAUNetConfig(widths=(2, 3))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
        *NORM,
        ("keep", [1e-06, 1.0], [0.0, 1.001], "in (0, 1]"),
        ("block", [1, 3], [-1, 0, 2], "odd"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
