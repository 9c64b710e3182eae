"""Ensemble: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec import preset
from unet_spec.families.ensemble import EnsembleConfig

from .stated import check_configs, check_range

SIZES = {
    "ensemble": (155_241_624, 343, 3_757_506_560),
    "narrow ensemble": (89_440, 117, 7_324_800),
    "test ensemble": (1_492, 49, 279_936),
    "test ensemble-3d": (2_014, 49, 6_375_834),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("ensemble", SIZES, CONSTANTS)


BASE = EnsembleConfig.of(preset("same", widths=(2, 3)), 2)


@pytest.mark.parametrize(
    "stated",
    [
        ("members", [1, 64], [0, 65], "1 to 64"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
