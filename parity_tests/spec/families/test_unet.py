"""The config of the U-Net: presets through JSON and back, and every value that is refused."""

from __future__ import annotations

import json

import pytest

from unet_spec import InputError, UNetConfig, preset
from unet_spec.families.unet import PRESETS


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
