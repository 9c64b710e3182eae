"""UNet++ pruned to one of its columns."""

import numpy as np
import pytest

import unet_jax
from unet_jax.runtime import JaxRuntime
from unet_spec import Checkpoint, InputError, random_tensors
from unet_spec.families.unetpp import UNetPPConfig

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import image, relative
from .stated import AXES, CHANNELS, NORM, WIDTHS, check_configs, check_range

EXACT = 1e-12


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_pruned_unetpp_gives_what_that_column_gave(level):
    config = FAMILIES["unet++-deep"]
    tensors = random_tensors(config.graph, 0, np.float64)
    pruned = config.pruned(level)
    own = config.pruned_tensors(tensors, level)
    x = image(config)
    wanted = config.graph.activations(tensors, x)[f"heads.{level - 1}"]
    assert np.array_equal(pruned.graph.forward(own, x), wanted)
    assert relative(JaxRuntime(unet_jax.from_checkpoint(Checkpoint(pruned, own))).run(x), wanted) < EXACT


def test_only_a_supervised_unetpp_can_be_pruned():
    with pytest.raises(
        InputError, match="cannot prune to level 4: pruning needs deep_supervision and a level in 1 … 3"
    ):
        FAMILIES["unet++-deep"].pruned(4)
    with pytest.raises(InputError, match="cannot prune"):
        FAMILIES["unet++"].pruned(1)


SIZES = {
    "unet++": (9_170_625, 116, 538_836_992),
    "unet++-deep": (9_170_724, 119, 538_836_992),
    "test unet++": (2_136, 46, 397_725),
    "test unet++-deep": (2_730, 79, 450_621),
    "test unet++-half-pixel": (1_097, 23, 246_240),
    "test unet++-3d": (1_126, 23, 4_086_045),
}
"""By config: values of all tensors, layers, multiply-adds."""
CONSTANTS = {
    "": {"eps": [1e-05], "momentum": [0.1]},
}


def test_configs_have_the_stated_sizes_and_constants():
    check_configs("unet++", SIZES, CONSTANTS)


BASE = UNetPPConfig(widths=(2, 3))


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
