"""MNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.m_net import MNetConfig

from .stated import AXES, CHANNELS, WIDTHS, check_configs, check_range

SIZES = {
    "m-net": (8_547_720, 69, 218_648_576),
    "test m-net": (3_734, 52, 449_946),
    "test m-net-3d": (2_894, 35, 5_580_500),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("m-net", SIZES, CONSTANTS)


BASE = MNetConfig(widths=(2, 3))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
