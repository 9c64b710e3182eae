"""The planner: work and memory by brute force, budgets, profiles, halos."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_spec import InputError
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.peak_memory import MODELS
from unet_spec.tiling.planner import Limits, plan_image, tile_memory
from unet_spec.tiling.tiles import minimum_tile, plan_tiles

from .test_tiles import flat

NARROW = {name: config.replace(widths=(2, 4, 6)) for name, config in PRESETS.items()}
EXACT = {n: c for n, c in NARROW.items() if c.geometry.shift_invariant}


def macs_of(config, plan):
    return len(plan) * sum(config.graph.macs(plan.tile).values())


@pytest.mark.parametrize("size", [(500, 10**20), (2**24 + 1, 500)])
def test_an_image_beyond_the_limit_is_refused_at_once(size):
    with pytest.raises(InputError, match="each axis may have at most 16,777,216"):
        plan_image(EXACT["paper"].geometry, size)


@pytest.mark.slow
def test_the_largest_images_are_planned():
    geometry = EXACT["paper"].geometry
    plan = plan_image(geometry, (2**24, 2**24), limits=Limits(budget=2**30))
    assert plan.tiles.image == (2**24, 2**24)
    assert plan.redundancy < 1.2


@pytest.mark.parametrize("name", EXACT)
def test_no_tile_within_the_budget_does_less_work(name):
    """Against every pair of sizes on the grid, planned one by one."""
    config, size = EXACT[name], (211, 149)
    least = plan_image(config.geometry, size, limits=Limits(budget=None))
    assert least.redundancy == 1
    budget = tile_memory(config.graph, "onnx", (minimum_tile(config.geometry) + 24,) * 2)
    found = plan_image(config.geometry, size, limits=Limits(budget=budget))
    assert len(found.tiles) > 1
    best = None
    grid = config.geometry.grid()
    sides = [range(minimum_tile(config.geometry), n, grid.step) for n in least.tiles.canvas]
    for tile in itertools.product(*([*side, n] for side, n in zip(sides, least.tiles.canvas, strict=True))):
        if tile_memory(config.graph, "onnx", tile) <= budget:
            work = macs_of(config, plan_tiles(config.geometry, size, tile))
            best = work if best is None else min(best, work)
    assert found.work == macs_of(config, found.tiles) == best
    assert found.memory <= budget


def test_the_predicted_work_is_what_the_layers_do():
    """Counted while NumPy computes, convolution by convolution."""
    config = NARROW["same"]
    plan = plan_image(config.geometry, (90, 70), limits=Limits(tile=(64, 64)))
    counted = 0
    tile = config.graph.shapes(plan.tiles.tile)
    for node in config.graph:
        if node.op.kind in ("conv", "conv_transpose"):
            taps = int(np.prod(config.graph.params[f"{node.name}.weight"].shape))
            counted += taps * int(np.prod(tile[node.inputs[0] if node.op.kind == "conv_transpose" else node.name][:-1]))
    assert plan.work == counted * len(plan.tiles)


def test_a_smaller_budget_takes_more_work_and_less_memory():
    config = NARROW["article"]
    plans = [plan_image(config.geometry, (3000, 2000), limits=Limits(budget=b)) for b in (2**23, 2**24, 2**26, None)]
    assert [p.work for p in plans] == sorted((p.work for p in plans), reverse=True)
    assert [p.memory for p in plans] == sorted(p.memory for p in plans)
    assert plans[0].redundancy > plans[-1].redundancy == 1


def test_a_budget_that_is_too_small_names_one_that_is_not():
    config = NARROW["paper"]
    with pytest.raises(InputError, match=r"the minimum is (\d+) MiB") as printed:
        plan_image(config.geometry, (300, 300), limits=Limits(budget=1000))
    least = int(str(printed.value).split("minimum is ")[1].split(" MiB")[0])
    assert plan_image(config.geometry, (300, 300), limits=Limits(budget=least * 2**20)).memory <= least * 2**20
    with pytest.raises(InputError, match="the whole image at once"):
        plan_image(NARROW["same-bilinear"].geometry, (300, 300), limits=Limits(budget=1000))


@pytest.mark.parametrize("budget", [2**22, 2**24])
def test_a_network_that_needs_the_whole_image_is_advised_a_tile_that_fits(budget):
    config = flat("instance")
    with pytest.raises(InputError, match=r"whole image at once; --tile \d+x\d+x\d+ fits") as printed:
        plan_image(config.geometry, (200, 600, 600), limits=Limits(budget=budget))
    tile = tuple(map(int, str(printed.value).split("--tile ")[1].split(" ")[0].split("x")))
    assert 1.5 * tile[0] < min(tile[1:]), "the first axis is halved less often"
    assert (
        0.6 * budget < plan_image(config.geometry, (200, 600, 600), limits=Limits(budget, tile=tile)).memory <= budget
    )


def test_an_engine_with_one_size_gets_that_size():
    config, size = NARROW["paper"], (200, 90)
    one = (config.geometry.grid().above(80),) * 2
    plan = plan_image(config.geometry, size, limits=Limits(minimum=one, maximum=one, batch=4, budget=2**24))
    assert plan.tiles.tile == one
    assert plan.batch == 4
    small = plan_image(config.geometry, (10, 10), limits=Limits(minimum=one, maximum=one))
    assert small.tiles.tile == one
    assert len(small.tiles) == 1
    with pytest.raises(InputError, match="no tile between"):
        plan_image(config.geometry, size, limits=Limits(minimum=(8, 8), maximum=(12, 12)))


def test_a_smaller_halo_is_reported_with_its_risk():
    config = NARROW["same"]
    full = plan_image(config.geometry, (400, 400), limits=Limits(tile=(128, 128)))
    less = plan_image(config.geometry, (400, 400), limits=Limits(tile=(128, 128), halo=4))
    assert full.tiles.exact
    assert not less.tiles.exact
    assert less.work < full.work
    assert 0 < less.at_risk < 1
    assert "approximate" in less.describe()
    edges = less.tiles.axes[0].edges
    lost = sum(config.geometry.halo()) - 8
    assert less.at_risk == pytest.approx(1 - (1 - lost * (len(edges) - 2) / 400) ** 2)


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(sorted(EXACT)),
    st.lists(st.integers(1, 400), min_size=2, max_size=2),
    st.integers(0, 24),
)
def test_every_plan_covers_every_pixel_once(name, size, power):
    config = EXACT[name]
    try:
        plan = plan_image(config.geometry, tuple(size), limits=Limits(budget=MODELS["onnx"].fixed + 2**18 + 2**power))
    except InputError:
        return
    seen = np.zeros(size, int)
    for tile in plan.tiles:
        seen[tile.target] += 1
        for start, source, axis in zip(tile.start, tile.source, plan.tiles.axes, strict=True):
            assert (start + axis.margin) % config.geometry.grid().step == 0, "off the total stride"
            assert 0 <= source.start < source.stop <= axis.tile - 2 * axis.margin
    assert (seen == 1).all()
