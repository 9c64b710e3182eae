"""Cells that live: growth, division, pushing."""

import numpy as np
import pytest

from unet_data.datasets.synthetic.cells import _HABITS
from unet_data.datasets.synthetic.population import Population


def population(style="dic", count=12, cycle=10.0, speed=0.5, seed=0):
    return Population(np.random.default_rng(seed), (100, 120), count, 20.0, cycle, speed, _HABITS[style])


def test_a_cell_doubles_its_area_and_then_divides():
    found = population(cycle=1000.0)
    found.cells.age[:] = np.linspace(0.3, 0.7, len(found.cells.age))
    radius = found.radius()
    assert (radius[-1] / radius[0]) ** 2 == pytest.approx(2**0.4)
    found.cells.number[0], found.cells.age[0] = 7, 0.9999
    before = len(found.cells.age)
    found.cells.rate[0] = 0.01
    found.step()
    assert len(found.cells.age) == before + 1
    born = found.cells.parent == 7
    assert born.sum() == 2
    assert (found.cells.age[born] == 0).all()
    assert (found.cells.number[born] == 0).all()
    found.step()
    assert not (found.cells.parent == 7).any()  # only in the frame of their birth


def test_cells_are_round_about_their_division_only():
    found = population()
    found.cells.age[:4] = 0.0, 0.5, 0.99, 0.8
    rounded = found.rounded()
    assert rounded[0] == 1
    assert rounded[1] == 0
    assert rounded[2] > 0.9
    assert 0 < rounded[3] < 0.5


def test_cells_push_each_other_apart():
    found = population()
    found.cells = found._born(np.array([[50.0, 50.0], [50.0, 52.0], [50.0, 110.0]]))
    found.cells.age[:] = 0.5
    for _ in range(30):
        found._push(0.25)
    centre = found.cells.centre
    assert np.linalg.norm(centre[0] - centre[1]) > 0.8 * _HABITS["dic"].packing * 20
    np.testing.assert_array_equal(centre[2], [50, 110])  # far away


def test_density_and_looks_last():
    found = population(count=20, cycle=1000.0)
    shape = np.abs(found.cells.waves).mean()
    for _ in range(60):
        found.step()
    inside = ((found.cells.centre > 0) & (found.cells.centre < (100, 120))).all(axis=1).sum()
    assert 12 <= inside <= 28
    assert 0.7 < np.abs(found.cells.waves).mean() / shape < 1.4
