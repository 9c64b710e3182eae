"""Outlines of cells: areas, the rule for two that overlap, one region each."""

import numpy as np
import pytest
from scipy import ndimage

from unet_data.datasets.synthetic.cells import _HABITS
from unet_data.datasets.synthetic.outlines import field_of, radii_of
from unet_data.datasets.synthetic.population import Population

SMOOTH = np.zeros((64, 64), np.float32)


def population_at(*centres, diameter=20.0, round_ones=True):
    found = Population(np.random.default_rng(0), (64, 80), 2, diameter, 40.0, 0.0, _HABITS["dic"])
    found.cells = found._born(np.array(centres, float))
    found.cells.age[:] = 0.5
    if round_ones:
        found.cells.waves[:] = 0
        found.cells.stretch[:] = 0
    return found


def test_a_round_cell_is_a_disc():
    field = field_of(population_at((30, 40)), (64, 80), SMOOTH)
    y, x = np.indices((64, 80))
    distance = np.hypot(y - 30, x - 40)
    assert (field.owner[distance < 9.9] == 0).all()
    assert (field.owner[distance > 10.1] == -1).all()
    assert field.depth[30, 40] == pytest.approx(10, abs=1)


def test_an_outline_keeps_the_area():
    lobed = population_at((30, 40), round_ones=False)
    assert radii_of(lobed).std() > 0.5
    assert (field_of(lobed, (64, 80), SMOOTH).owner == 0).sum() == pytest.approx(np.pi * 100, rel=0.03)


def test_two_that_overlap_share_along_the_line_between_them():
    owner = field_of(population_at((30, 32), (30, 46)), (64, 80), SMOOTH).owner
    assert (owner[30, 30:39] == 0).all()
    assert (owner[30, 40:48] == 1).all()
    assert (owner[30, 23:56] >= 0).all()  # nothing between them


def test_a_cell_that_another_cuts_keeps_its_largest_piece():
    """A small cell in the middle of a long one."""
    found = population_at((32, 40), (32, 44))
    found.cells.stretch[0] = 1.6
    found.cells.angle[0] = 0
    found.cells.age[1] = 0.0
    owner = field_of(found, (64, 80), SMOOTH).owner
    assert ndimage.label(owner == 0)[1] == ndimage.label(owner == 1)[1] == 1


def test_beyond_the_field_there_is_nothing():
    field = field_of(population_at((-40, -40)), (64, 80), SMOOTH)
    assert (field.owner == -1).all()
    assert (field.depth == 80).all()
