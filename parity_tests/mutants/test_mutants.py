"""The parity battery catches every planted bug by a measured error."""

import jax.numpy as jnp
import pytest

import unet_jax.losses
from unet_jax.losses.targets import class_logits

from . import EQUIVALENT, MUTANTS, judge
from .plant import Edit

ALL = MUTANTS | EQUIVALENT


@pytest.mark.mutants
@pytest.mark.parametrize("name", MUTANTS)
def test_caught(name):
    verdict = judge(MUTANTS[name])
    print(verdict)  # shows the check with pytest -rP
    assert verdict.killed, str(verdict)


@pytest.mark.mutants
@pytest.mark.parametrize("name", EQUIVALENT)
def test_equivalent_changes_nothing(name):
    verdict = judge(EQUIVALENT[name])
    assert (verdict.caught, verdict.crashed) == (None, ()), str(verdict)


def test_every_plant_fits_the_code():
    """Part of the default run: fails if the line of a mutant was rewritten."""
    assert len(MUTANTS) >= 40
    for mutant in ALL.values():
        with mutant.plant.planted():
            pass


def test_edit_changes_the_function_everywhere_and_takes_it_back():
    one = jnp.ones((1, 1, 1, 1))
    with Edit(class_logits, "if logits.shape[-1] == 1", "if False").planted():
        assert unet_jax.losses.class_logits(one).shape == (1, 1, 1, 1)
    assert unet_jax.losses.class_logits(one).shape == (1, 1, 1, 2)


@pytest.mark.parametrize("old", ["no such text", "logits"])
def test_edit_needs_one_place(old):
    with pytest.raises(ValueError, match="not once"), Edit(class_logits, old, "x").planted():
        pass
