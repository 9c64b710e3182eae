"""Tiles against the whole image, computed by the NumPy reference."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_data.inference.stitch import predict_tiled
from unet_data.windows import mirror_window
from unet_spec import InputError, NetworkConfig, preset, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.tiles import balanced_tile, full_halo, minimum_tile, per_axis, plan_tiles, tile_below, tile_stride

from ...fixtures.family_cases import FAMILIES

NARROW = {name: config.replace(widths=(2, 4, 6)) for name, config in PRESETS.items()}
HALF_PIXEL = NARROW["same-bilinear"].replace(align_corners=False)
VOLUMES = {
    "paper-3d": NARROW["paper"].replace(widths=(2, 3), spatial_dims=3),
    "same-3d": NARROW["same"].replace(widths=(2, 3), spatial_dims=3),
    "half-pixel-3d": HALF_PIXEL.replace(widths=(2, 3), spatial_dims=3),
}
EXACT = {n: c for n, c in NARROW.items() if c.geometry.shift_invariant} | {"half-pixel": HALF_PIXEL} | VOLUMES
OTHERS = {n: c for n, c in FAMILIES.items() if c.geometry.shift_invariant and c.spatial_dims == 2}
"""The other architectures whose tiles can be exact; the largest halos need the largest tiles."""
OTHER_CASES = [pytest.param(n, marks=[pytest.mark.slow] * (minimum_tile(c.geometry) > 110)) for n, c in OTHERS.items()]
PRIMES = (5, 17, 31, 41, 61, 71, 83, 97, 113, 131, 283, 431, 443, 457)


def tiled_and_whole(
    config: NetworkConfig, size: tuple[int, ...], tile: int | tuple[int, ...] | None, dtype: type
) -> tuple:
    """Logits by tiles, logits of the mirrored canvas in one piece, and the plan."""
    rng = np.random.default_rng(3)
    image = rng.normal(1.0, 1.0, (*size, config.in_channels)).astype(dtype)
    tensors = random_tensors(config.graph, 4, dtype)
    plan = plan_tiles(config.geometry, size, tile)
    tiled = predict_tiled(lambda x: config.graph.forward(tensors, x), image, plan, config.out_channels)
    canvas = mirror_window(image, [-axis.margin for axis in plan.axes], plan.canvas)
    whole = config.graph.forward(tensors, canvas[None])[0][tuple(slice(0, n) for n in size)]
    return tiled, whole, plan


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_tiles_reproduce_the_whole_image_at_prime_sizes(name, dtype, bound):
    config = EXACT[name]
    size = (67, 83) if config.spatial_dims == 2 else (7, 11, 13) if name == "paper-3d" else (17, 13, 23)
    tiled, whole, plan = tiled_and_whole(config, size, minimum_tile(config.geometry), dtype)
    assert plan.exact
    assert len(plan) > 1, "this would test nothing"
    assert tiled.shape == (*size, config.out_channels)
    assert tiled.dtype == dtype
    assert np.abs(tiled - whole).max() <= bound * np.abs(whole).max()


@pytest.mark.parametrize("name", OTHER_CASES)
def test_tiles_of_the_other_architectures_reproduce_the_whole_image(name):
    """At a prime size with tiles on both axes, in a strip one tile wide, and on an image smaller than a tile."""
    config = OTHERS[name]
    tile, step = minimum_tile(config.geometry), config.geometry.grid().step
    high, wide = [n for n in PRIMES if n > tile + step][:2]
    for size, several in (((high, wide), (True, True)), ((high, 3), (True, False)), ((5, 3), (False, False))):
        tiled, whole, plan = tiled_and_whole(config, size, tile, np.float64)
        assert plan.exact
        assert tuple(len(axis.starts) > 1 for axis in plan.axes) == several
        assert np.abs(tiled - whole).max() <= 1e-12 * np.abs(whole).max()


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from([n for n in EXACT if n not in VOLUMES]),
    st.lists(st.integers(1, 70), min_size=2, max_size=2),
    st.lists(st.integers(0, 6), min_size=2, max_size=2),
)
def test_tiles_of_any_plan_reproduce_an_image_of_any_size(name, size, steps):
    """Sides of the tile: so many grid steps above the least one; also images of one tile's width."""
    config = EXACT[name]
    grid = config.geometry.grid()
    tile = tuple(minimum_tile(config.geometry) + k * grid.step for k in steps)
    tiled, whole, plan = tiled_and_whole(config, tuple(size), tile, np.float64)
    assert plan.exact
    assert np.abs(tiled - whole).max() <= 1e-12 * np.abs(whole).max()


@pytest.mark.parametrize("name", EXACT)
def test_strips_one_tile_wide(name):
    config = EXACT[name]
    size = (61, 1, 2)[: config.spatial_dims]
    tiled, whole, plan = tiled_and_whole(config, size, minimum_tile(config.geometry), np.float64)
    assert [len(axis.starts) > 1 for axis in plan.axes] == [True, False, False][: config.spatial_dims]
    assert np.abs(tiled - whole).max() <= 1e-12 * np.abs(whole).max()


@pytest.mark.parametrize("name", NARROW)
def test_every_preset_in_one_piece(name):
    tiled, whole, plan = tiled_and_whole(NARROW[name], (37, 41), None, np.float64)
    assert plan.exact
    assert np.array_equal(tiled, whole)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_image_smaller_than_a_tile(name, size):
    config = EXACT[name]
    shape = (size, size + 2, size + 1)[: config.spatial_dims]
    tiled, whole, _ = tiled_and_whole(
        config, shape, minimum_tile(config.geometry) + config.geometry.grid().step, np.float64
    )
    assert np.abs(tiled - whole).max() <= 1e-12 * np.abs(whole).max()


def flat(norm: str) -> NetworkConfig:
    """A network for thick sections: no kernel and no stride across the first planes."""
    kernels, strides = ((1, 3, 3), (1, 3, 3), (3, 3, 3)), ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    changes = {"kernels": kernels, "strides": strides, "widths": (2, 4, 6), "sides": 0, "norm": norm}
    return preset("nnunet", spatial_dims=3, in_channels=1).replace(**changes)


@pytest.mark.parametrize("size", [64, 128])
def test_a_network_of_unequal_axes_has_a_tile_of_unequal_axes(size):
    geometry = flat("batch").geometry

    def share(tile):
        strides = [tile_stride(geometry, n, a) for a, n in enumerate(tile)]
        return math.prod(strides) / math.prod(tile)

    cube, tile = tile_below(geometry, size), balanced_tile(geometry, size)
    assert math.prod(tile) <= math.prod(cube)
    assert share(tile) > 1.1 * share(cube)
    assert tile[0] < tile[1]
    assert max(tile) <= 4 * size
    geometry.check(tile)
    for equal in (PRESETS["paper"], VOLUMES["same-3d"], flat("instance")):
        assert balanced_tile(equal.geometry, size) == tile_below(equal.geometry, size)


def test_a_size_is_for_all_axes_or_for_each():
    assert per_axis(5, 2, "--tile") == (5, 5)
    with pytest.raises(InputError, match="--tile is 5x6x7, but there are 2 axes: give one number, or one per axis"):
        per_axis((5, 6, 7), 2, "--tile")


def test_windows_that_are_off_by_one_are_seen(monkeypatch):
    """The bounds above can fail: windows one pixel further down give another image."""
    config = EXACT["paper"]

    def shifted(image, start, shape):
        return mirror_window(image, [start[0] + 1, *start[1:]], shape)

    monkeypatch.setattr("unet_data.inference.stitch.mirror_window", shifted)
    tiled, whole, _ = tiled_and_whole(config, (67, 97), minimum_tile(config.geometry), np.float64)
    assert np.abs(tiled - whole).max() > 1e-2 * np.abs(whole).max()


def test_the_default_tile_of_unequal_axes_is_the_best_of_all():
    """All tiles with at most as many pixels as the cube and axes of at most four times its size, one by one."""
    network = preset("nnunet", spatial_dims=3, in_channels=1).replace(
        kernels=((1, 3, 3), (1, 3, 3)), strides=((1, 1, 1), (1, 2, 2)), widths=(2, 4), sides=0, norm="batch"
    )
    geometry, size = network.geometry, 26
    cube, tile = tile_below(geometry, size), balanced_tile(geometry, size)
    steps = [[n for n in range(1, 4 * size + 1) if geometry.grid(a).below(n) == n] for a in range(3)]
    useful = [[n for n in own if n >= minimum_tile(geometry, a)] for a, own in enumerate(steps)]
    shares = [{n: tile_stride(geometry, n, a) / n for n in own} for a, own in enumerate(useful)]
    best = max(
        shares[0][d] * shares[1][h] * shares[2][w]
        for d, h, w in itertools.product(*useful)
        if d * h * w <= math.prod(cube)
    )
    assert math.prod(tile) <= math.prod(cube)
    assert max(tile) <= 4 * size
    assert math.prod(own[n] for own, n in zip(shares, tile, strict=True)) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "less", "exact"), [("same", 0, True), ("same", 1, False), ("paper", 0, True), ("same-bilinear", 0, False)]
)
def test_a_plan_says_whether_it_is_exact(name, less, exact):
    """With a smaller halo than the network's, or in one that is not shift-invariant, tiles differ from the whole."""
    geometry = NARROW[name].geometry
    halo = max(max(full_halo(geometry, axis)) for axis in range(2)) - less
    plan = plan_tiles(geometry, (200, 300), 96, halo=halo if name != "paper" else None)
    assert len(plan) > 1
    assert plan.exact is exact
    assert plan_tiles(geometry, (24, 24), 96).exact  # one tile is the whole image


def test_the_first_axis_is_meant_where_none_is_named():
    geometry = flat("batch").geometry
    assert geometry.grids[0] != geometry.grids[1]
    assert geometry.grid() == geometry.grids[0]
