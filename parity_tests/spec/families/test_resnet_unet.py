"""ResNetUNet: sizes and constants of its configs, and the ranges of their values."""

import pytest

from unet_spec.families.resnet_unet import ResNetUNetConfig, block_convs

from .stated import CHANNELS, NORM, check_configs, check_range

SIZES = {
    "resnet34-unet": (24_455_377, 164, 122_093_568),
    "resnet50-unet": (32_576_209, 214, 166_133_760),
    "narrow resnet34-unet": (130_945, 80, 2_684_928),
    "narrow resnet50-unet": (274_305, 94, 3_422_208),
    "test resnet-unet": (8_972, 87, 329_088),
    "test resnet-unet-bottleneck": (15_582, 104, 317_968),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("resnet-unet", SIZES, CONSTANTS)


BASE = ResNetUNetConfig(width=2)


@pytest.mark.parametrize(
    "stated",
    [
        *CHANNELS,
        *NORM,
        ("width", [1], [0], "at least 1"),
        ("depths", [(1, 1, 1, 1)], [(1, 1, 1), (1, 1, 1, 1, 1), (1, 0, 1, 1)], "4 numbers above 0"),
        ("decoder", [(1, 1, 1, 1, 1)], [(1, 1, 1, 1), (1, 1, 1, 1, 1, 1), (1, 0, 1, 1, 1)], "5 numbers above 0"),
    ],
    ids=lambda stated: stated[0],
)
def test_a_value_is_in_its_range(stated):
    check_range(BASE, stated)


@pytest.mark.parametrize(("block", "widths"), [("basic", (3, 3, 6, 12, 24)), ("bottleneck", (3, 12, 24, 48, 96))])
def test_skips_are_the_stem_and_the_layers(block, widths):
    config = ResNetUNetConfig(block=block, width=3, depths=(1, 1, 1, 1), decoder=(1, 1, 1, 1, 1))
    assert config.skip_widths == widths
    channels = config.graph.channels
    assert (channels["stem.act"], *(channels[f"layers.{i}.0.add"] for i in range(4))) == widths


def test_a_bottleneck_is_narrow_inside_and_strides_in_the_middle():
    assert block_convs("basic", 5, 2) == ((5, 3, 2), (5, 3, 1))
    assert block_convs("bottleneck", 5, 2) == ((5, 1, 1), (5, 3, 2), (20, 1, 1))
