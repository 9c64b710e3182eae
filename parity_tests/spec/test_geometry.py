"""Sizes that fit, margins, receptive fields and halos, against brute force and the reference network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_spec import InputError, UNetConfig, preset, random_tensors
from unet_spec.ops import SizeError

from ..fixtures.family_cases import FAMILIES

NARROW = {"widths": (2, 3, 4)}


@given(st.integers(1, 5), st.integers(0, 6))
def test_valid_sizes_are_those_of_the_closed_form(depth, more):
    """in = 2^D s + 4 (2^D − 1) and out = 2^D (s − 4) − 4 (2^D − 1) for a depth of D."""
    geometry = UNetConfig(widths=(1,) * (depth + 1)).geometry
    grid, p = geometry.grid(), 2**depth
    assert grid.step == p
    size = grid.minimum + more * p
    s = (size - 4 * (p - 1)) // p
    assert p * s + 4 * (p - 1) == size
    assert geometry.output_size(size) == p * (s - 4) - 4 * (p - 1) > 0
    below = p * (s - 1 - 4) - 4 * (p - 1)
    assert more > 0 or below <= 0  # the minimum is the least


@given(st.integers(1, 700))
def test_the_grid_is_what_brute_force_finds(size):
    config = preset("paper", widths=(1, 1, 1, 1, 1))
    try:
        config.graph.sizes(0, size)
        fits = True
    except SizeError:
        fits = False
    assert (size in config.geometry.grid()) == fits


@given(st.integers(1, 3000))
def test_nearest_sizes_fit_and_none_is_nearer(size):
    grid = preset("paper").geometry.grid()
    nearest = grid.nearest(size)
    assert all(n in grid for n in nearest)
    assert min(abs(n - size) for n in nearest) == min(abs(n - size) for n in range(188, 3200, 16))


def test_512_is_answered_with_its_neighbours():
    with pytest.raises(InputError, match="nearest valid: 508 or 524"):
        preset("paper").geometry.check((512, 512))
    assert preset("same").geometry.grid().nearest(512) == (512,)


@pytest.mark.parametrize("name", ["paper", "article", "same"])
@pytest.mark.parametrize("dims", [2, 3])
def test_margins_hold_for_every_size_and_dimension(name, dims):
    geometry = preset(name, spatial_dims=dims, **NARROW).geometry
    for axis in range(dims):
        for k in range(4):
            size = geometry.grid(axis).minimum + k * geometry.grid(axis).step
            assert size - geometry.output_size(size, axis) == 2 * geometry.margin(axis)


@pytest.mark.parametrize(
    "config",
    [
        preset("paper", dropout=0.0, **NARROW),
        preset("article", **NARROW),
        preset("same", **NARROW),
        preset("same-bilinear", align_corners=False, **NARROW),
    ],
    ids=["paper", "article", "same", "half-pixel"],
)
def test_the_receptive_field_is_where_a_changed_pixel_shows(config):
    """Every output of one period: a pixel at the edge of its field changes it, the pixel beyond does not. Positive
    weights and a large change, so that neither ReLU nor max-pool hides it."""
    graph, geometry = config.graph, config.geometry
    field = geometry.field()
    assert field is not None
    size = geometry.grid().above(2 * field.reach[1] + 4 * field.period + 2 * geometry.margin())
    tensors = {name: np.abs(t) for name, t in random_tensors(graph, 0, np.float64).items()}
    image = np.random.default_rng(0).uniform(1, 2, (1, size, geometry.grid().minimum, config.in_channels))
    base = graph.forward(tensors, image)
    middle = base.shape[1] // 2 // field.period * field.period
    reached: dict[int, list[int]] = {o: [] for o in range(middle, middle + field.period)}
    for row in range(size):
        bumped = image.copy()
        bumped[:, row] += 1e3
        changed = np.abs(graph.forward(tensors, bumped) - base).max(axis=(0, 2, 3)) > 1e-9
        for output in reached:
            if changed[output]:
                reached[output].append(row)
    widths = sorted(rows[-1] - rows[0] + 1 for rows in reached.values())
    assert widths == sorted(w for w, n in field.widths.items() for _ in range(n))
    reaches = [abs(edge - (o + geometry.margin())) for o, rows in reached.items() for edge in (rows[0], rows[-1])]
    assert (min(reaches), max(reaches)) == field.reach


EXACT = [name for name, c in FAMILIES.items() if c.geometry.shift_invariant and c.spatial_dims == 2]


@pytest.mark.parametrize("name", EXACT)
def test_tiles_are_exact(name):
    config = FAMILIES[name]
    geometry = config.geometry
    assert geometry.shift_invariant
    step, (low, high) = geometry.grid().step, geometry.halo()
    tile = -(-(low + high + 2 * step) // step) * step
    tensors = random_tensors(config.graph, 0, np.float64)
    whole = np.random.default_rng(1).normal(size=(1, tile + 2 * step, tile + 3 * step, config.in_channels))
    reference = config.graph.forward(tensors, whole)
    part = config.graph.forward(tensors, whole[:, step : step + tile, step : step + tile])
    inner = slice(low, tile - high)
    wanted = reference[:, step : step + tile, step : step + tile][:, inner, inner]
    assert wanted.size
    assert np.abs(part[:, inner, inner] - wanted).max() < 1e-12
    # One pixel more and it would not: the halo is no larger than it must be.
    edge = np.abs(part - reference[:, step : step + tile, step : step + tile])
    assert edge[:, low - 1].max() > 1e-12


@pytest.mark.parametrize("name", ["unet++", "attention-unet", "probabilistic-unet", "transunet", "fcn-8s"])
def test_the_others_promise_nothing(name):
    assert not FAMILIES[name].geometry.shift_invariant
