"""MonaiUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.monai_unet import MonaiUNetConfig

from .stated import AXES, CHANNELS, NORM, check_configs, check_range

SIZES = {
    "monai-unet": (1_625_161, 71, 11_890_688),
    "narrow monai-unet": (100_861, 55, 1_387_008),
    "test monai-unet": (1_401, 39, 117_774),
    "test monai-unet-plain": (742, 16, 26_600),
    "test monai-unet-3d": (685, 17, 1_027_890),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05]},
    "test monai-unet-plain": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("monai-unet", SIZES, CONSTANTS)


BASE = MonaiUNetConfig(widths=(2, 3, 4), strides=(2, 1))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        AXES,
        *NORM,
        ("strides", [(1, 1), (2, 2)], [(2,), (2, 2, 2), (2, 0)], "2 numbers above 0, one less than there are widths"),
        ("strides", [(1, 2)], [(1, 3), (3, 2)], "at most 2 for this up_kernel"),
        ("kernel", [1, 3, 5], [2], "odd"),
        ("up_kernel", [3, 5], [2, 4], "odd"),
        ("units", [0, 1], [-1], "at least 0"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
