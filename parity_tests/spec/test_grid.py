"""The sizes that fit along one axis, against a list of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_spec import InputError
from unet_spec.grid import Grid, check_size, find_grid


@given(st.integers(1, 50), st.integers(1, 20), st.integers(1, 400))
def test_neighbours_are_those_of_the_list(minimum, step, size):
    grid = Grid(minimum, step)
    sizes = range(minimum, 500, step)
    assert (size in grid) == (size in sizes)
    assert grid.above(size) == min(n for n in sizes if n >= size)
    assert grid.below(size) == max((n for n in sizes if n <= size), default=None)
    assert set(grid.nearest(size)) == {n for n in (grid.below(size), grid.above(size)) if n is not None}


@given(st.integers(1, 50), st.integers(1, 20))
def test_a_grid_is_found_by_trial(minimum, step):
    assert find_grid(lambda n: n in Grid(minimum, step), step, "axis 0") == Grid(minimum, step)
    assert find_grid(lambda n: n in Grid(minimum, step), 3 * step, "axis 0") == Grid(minimum, step)


def test_sizes_that_no_grid_has_are_refused():
    with pytest.raises(InputError, match="no size fits this network along axis 1"):
        find_grid(lambda n: False, 2, "axis 1")
    with pytest.raises(InputError, match="not an arithmetic sequence"):
        find_grid(lambda n: n in (4, 5, 8, 12), 8, "axis 0")


def test_a_size_that_does_not_fit_names_its_neighbours():
    check_size((188, 204), (Grid(188, 16),) * 2)
    with pytest.raises(InputError, match=r"input 200x204 does not fit .* per axis: 188 or 204, 204"):
        check_size((200, 204), (Grid(188, 16),) * 2)
