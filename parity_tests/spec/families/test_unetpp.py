"""UNet++ pruned to one of its columns."""

import numpy as np
import pytest

import unet_jax
from unet_jax.runtime import JaxRuntime
from unet_spec import Checkpoint, InputError, random_tensors

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import image, relative

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
