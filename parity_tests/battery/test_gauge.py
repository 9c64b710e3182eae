"""Biases without effect, derived from the graph and compared with the known ones of each kind of network."""

import pytest

from unet_spec import UNetConfig

from ..fixtures.family_cases import FAMILIES
from .gauge import gauge_parameters

BLOCKS = {"encoder.0", "encoder.1", "decoder.0.block"}
CONVS = {f"{block}.conv{i}.bias" for block in BLOCKS for i in (1, 2)}
UP = "decoder.0.up.bias"
KNOWN = {
    "no norm": ({}, set()),
    "valid, crop, batch norm": ({"norm": "batch"}, CONVS | {UP}),
    "padding the upsampled map with zeros": ({"norm": "batch", "merge": "pad"}, CONVS),
    "padding the convolutions with zeros": ({"norm": "batch", "padding": "same"}, CONVS),
    "no bias before the norm": ({"norm": "batch", "conv_bias": False}, {UP}),
    "interpolation has no bias": ({"norm": "batch", "upsampling": "bilinear"}, CONVS),
    "instance norm": ({"norm": "instance"}, CONVS | {UP}),
    "groups of several channels": ({"norm": "group", "norm_groups": 2}, set()),
}


@pytest.mark.parametrize("name", KNOWN)
def test_gauge_parameters_of(name):
    changes, expected = KNOWN[name]
    assert set(gauge_parameters(UNetConfig(widths=(4, 4), **changes).graph)) == expected


def test_a_group_of_one_channel_is_an_instance_norm():
    config = UNetConfig(widths=(4, 4), norm="group", norm_groups=4)
    assert set(gauge_parameters(config.graph)) == CONVS | {UP}


def test_running_statistics_absorb_nothing():
    config = UNetConfig(widths=(4, 4), norm="batch")
    assert gauge_parameters(config.graph, training=False) == {}
    assert set(gauge_parameters(config.replace(norm="instance").graph, training=False)) == CONVS | {UP}


def test_each_comes_with_the_norms_that_absorb_it():
    found = gauge_parameters(UNetConfig(widths=(4, 4), norm="batch").graph)
    assert found["encoder.0.conv2.bias"] == ("encoder.0.norm2",)
    assert found[UP] == ("decoder.0.block.norm1",)


def test_the_bias_of_a_norm_that_another_one_follows():
    assert set(gauge_parameters(FAMILIES["multiresunet"].graph)) == {"decoder.0.block.norm2.bias"}


def test_attention_does_not_see_the_bias_of_its_keys():
    config = FAMILIES["transunet"]
    found = gauge_parameters(config.graph)
    assert set(found) == {f"layers.{i}.attention.key.bias" for i in range(config.layers)}
    assert found["layers.0.attention.key.bias"] == ("layers.0.attention.product",)
