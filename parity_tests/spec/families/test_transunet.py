"""TransUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.transunet import TransUNetConfig

from .stated import CHANNELS, NORM, check_configs, check_range

SIZES = {
    "transunet": (105_279_961, 379, 579_158_016),
    "narrow transunet": (216_537, 129, 4_859_520),
    "test transunet-drop": (12_359, 95, 443_264),
    "test transunet": (15_590, 114, 660_816),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-06, 1e-05], "rate": [0.1], "momentum": [0.1]},
    "test transunet-drop": {"eps": [1e-06, 1e-05], "rate": [0.2], "momentum": [0.1]},
    "test transunet": {"eps": [1e-06, 1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("transunet", SIZES, CONSTANTS)


BASE = TransUNetConfig()


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        *NORM,
        ("width", [32], [0], "at least 1"),
        ("groups", [1], [0], "at least 1"),
        ("hidden", [12], [0], "at least 1"),
        ("layers", [1], [0], "at least 1"),
        ("heads", [1], [0], "at least 1"),
        ("mlp", [1], [0], "at least 1"),
        ("more", [1], [0], "at least 1"),
        ("units", [(1,) * 3], [(1,) * 2, (1,) * 4, (0,) + (1,) * 2], "3 numbers above 0"),
        ("grid", [(1,) * 2], [(1,) * 1, (1,) * 3, (0,) + (1,) * 1], "2 numbers above 0"),
        ("decoder", [(1,) * 4], [(1,) * 3, (1,) * 5, (0,) + (1,) * 3], "4 numbers above 0"),
        ("groups", [2, 64], [3, 128], "a divisor of the width, 64"),
        ("heads", [6, 768], [5, 1536], "a divisor of hidden, 768"),
        ("dropout", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
