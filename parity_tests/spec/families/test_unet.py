"""The config of the U-Net: presets through JSON and back, and every value that is refused."""

from __future__ import annotations

import json

import pytest

from unet_spec import InputError, UNetConfig, preset
from unet_spec.families.unet import PRESETS

from .stated import AXES, CHANNELS, NORM, WIDTHS, check_configs, check_range


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_goes_through_json_and_back(name):
    config = preset(name)
    assert UNetConfig.from_json(config.to_json()) == config
    assert json.loads(config.to_json())["architecture"] == "unet"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_channels": 0}, "in_channels is 0; it must be at least 1"),
        ({"in_channels": 1.5}, "in_channels is 1.5; it must be a whole number"),
        ({"out_channels": True}, "out_channels is True; it must be a whole number"),
        ({"widths": (64,)}, "two levels or more"),
        ({"widths": (8,) * 13}, "widths is 13 numbers; it must be at most 12, one for each level"),
        ({"widths": (64, 0)}, "at least 1 at every level"),
        ({"widths": "64"}, "a sequence of whole numbers"),
        ({"spatial_dims": 4}, "spatial_dims is 4; it must be 2 or 3"),
        ({"padding": "reflect"}, "padding is 'reflect'; it must be 'valid' or 'same'"),
        ({"merge": "add"}, "'crop' or 'pad'"),
        ({"upsampling": "nearest"}, "'transposed' or 'bilinear'"),
        ({"norm": "layer"}, "'none' or 'batch' or 'group' or 'instance'"),
        ({"norm": "group", "norm_groups": 5}, "a divisor of every width"),
        ({"activation": "tanh"}, "'relu' or 'leaky_relu'"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be in"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"norm_momentum": 0.0}, "norm_momentum"),
        ({"conv_bias": 1}, "conv_bias is 1; it must be true or false"),
    ],
    ids=str,
)
def test_a_wrong_value_is_reported_with_what_is_allowed(changes, words):
    with pytest.raises(InputError) as caught:
        UNetConfig(**changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("[]", "a config is a JSON object, not list"),
        ('{"width": [1, 2]}', "unknown key 'width'; known: in_channels"),
        ('{"architecture": "resnet"}', "unknown architecture 'resnet'"),
        ('{"widths": [8, 16.5]}', "a sequence of whole numbers"),
        ('{"padding": null}', "padding is None"),
    ],
)
def test_a_wrong_file_is_named(text, words):
    with pytest.raises(InputError, match=r"^here: ") as caught:
        UNetConfig.from_json(text, "here")
    assert words in str(caught.value)


def test_unknown_presets_and_keys_are_reported():
    with pytest.raises(InputError, match="unknown preset 'papre'; known: paper, article"):
        preset("papre")
    with pytest.raises(InputError, match="unknown key 'depth'"):
        preset("paper", depth=4)


SIZES = {
    "default": (31_030_658, 54, 6_098_393_344),
    "paper": (31_030_658, 56, 6_098_393_344),
    "article": (31_054_145, 72, 8_173_806_848),
    "article-bilinear": (17_275_073, 72, 7_453_304_064),
    "same": (31_048_322, 68, 751_501_312),
    "same-bilinear": (17_270_722, 68, 623_575_040),
    "test paper": (3_496, 32, 517_520),
    "test article": (2_109, 40, 303_817),
    "test article-bilinear": (2_919, 40, 541_224),
    "test same": (2_542, 38, 274_700),
    "test same-bilinear": (2_951, 38, 435_000),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "default": {},
    "": {"eps": [1e-05], "momentum": [0.1]},
    "paper": {"rate": [0.5]},
    "test paper": {"rate": [0.5]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("unet", SIZES, CONSTANTS)


BASE = UNetConfig(widths=(4, 8))


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        WIDTHS,
        AXES,
        *NORM,
        ("norm_groups", [1], [0], "at least 1"),
        ("dropout", [0.0, 0.999], [-0.001, 1.0], "in [0, 1)"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)
