"""Strip by strip against the whole image, in both twins and for every preset."""

import dataclasses
import importlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_spec import Checkpoint, InputError, random_tensors
from unet_spec.families.builder import Builder
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.strips import plan_strips, strip_macs, strip_memory

from ...battery.measure import distance
from ...fixtures.family_cases import FAMILIES

CASES = {name: config.replace(widths=(2, 4, 6), dropout=0.0) for name, config in PRESETS.items()}
CASES["unet++"] = FAMILIES["unet++"]
CASES |= {f"{name}-3d": PRESETS[name].replace(widths=(2, 4), spatial_dims=3) for name in PRESETS}


def of_strips(name, runtime, rows, height=None):
    """Logits by strips, those of the NumPy reference in float64."""
    config = CASES[name]
    grid = config.geometry.grid()
    size = (grid.above(height or 70), grid.above(37), grid.above(20))[: config.spatial_dims]
    checkpoint = Checkpoint(config, random_tensors(config.graph, 1, np.float32))
    x = np.random.default_rng(0).normal(1, 1, (1, *size, config.in_channels)).astype(np.float32)
    double = {k: v.astype(np.float64) for k, v in checkpoint.tensors.items()}
    whole = config.graph.forward(double, x.astype(np.float64))[0]
    model = importlib.import_module(f"unet_{runtime}").from_checkpoint(checkpoint)
    strips = importlib.import_module(f"unet_{runtime}.strips").StripRuntime(model)
    parts, at = [], 0
    for first, logits in strips.stream(lambda a, b: x[0, a:b], size[0], rows):
        assert first == at
        at += len(logits)
        parts.append(logits)
    return np.concatenate(parts), whole


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("runtime", "rows"), [("torch", 4), ("jax", 32)])
def test_strips_are_the_whole_image(name, runtime, rows):
    strips, whole = of_strips(name, runtime, rows)
    assert strips.shape == whole.shape
    assert np.abs(strips - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("factor", [3, 8])
def test_maps_pooled_and_interpolated_by_another_factor_than_2(factor, align):
    torch = pytest.importorskip("torch")
    from unet_torch.nn.layers import Layers
    from unet_torch.strips import StripRuntime

    b = Builder(1, 2)
    stem = b.conv("stem", "input", 3)
    up = b.upsample("up", b.conv("deep", b.max_pool("pool", stem, factor), 4), factor, align)
    b.conv("head", b.concat("join", stem, up), 2, 1)
    graph, layers, model = b.graph(), Layers(CASES["same"]), torch.nn.Module()
    model.stem, model.deep, model.head = layers.conv(1, 3), layers.conv(3, 4), layers.conv(7, 2, 1)
    model.config = SimpleNamespace(graph=graph, spatial_dims=2)
    tensors = random_tensors(graph, 0, np.float64)
    model.double().load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()})
    image = np.random.default_rng(0).normal(size=(1, 6 * factor, 2 * factor, 1))
    strips = StripRuntime(model).stream(lambda low, high: image[0, low:high], 6 * factor, 5)
    assert distance(np.concatenate([rows for _, rows in strips]), graph.forward(tensors, image)[0]) <= 1e-14


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([n for n in CASES if "3d" not in n]), st.integers(1, 90), st.integers(1, 60))
def test_strips_of_any_height(name, height, rows):
    strips, whole = of_strips(name, "torch", rows, height)
    assert np.abs(strips - whole).max() <= 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_computed_twice(name):
    graph = CASES[name].graph
    size = tuple(grid.above(60) for grid in CASES[name].geometry.grids)
    strips = list(plan_strips(graph, size[0], 8))
    assert strip_macs(graph, strips, size) == sum(graph.macs(size).values())


def test_memory_grows_with_the_width_only():
    graph, grid = CASES["paper"].graph, CASES["paper"].geometry.grid()
    tall, taller, wide = (grid.above(n) for n in (400, 4000, 800))
    assert strip_memory(graph, (tall, tall), 8) == strip_memory(graph, (taller, tall), 8)
    assert strip_memory(graph, (tall, wide), 8) > 1.9 * strip_memory(graph, (tall, tall), 8)


def test_the_middle_strips_are_alike():
    """Or JAX would compile each of them."""
    strips = list(plan_strips(CASES["paper"].graph, CASES["paper"].geometry.grid().above(2000), 32))
    assert len(strips) > 50
    assert len({(s.steps, s.free) for s in strips}) < 8


def test_zeros_for_a_row_that_was_kept_are_seen(monkeypatch):
    """The bounds above can fail: the seam that padding at inner edges would leave, in one layer."""
    import unet_spec.tiling.strip_runtime as module

    def seamed(step):
        if step.name != "encoder.0.conv2":
            return step
        ((a, b),), (_, below) = step.takes, step.pad
        return dataclasses.replace(step, takes=((a + 1, b),), pad=(1, below))

    def hasty(*args):
        for strip in plan_strips(*args):
            steps = tuple(seamed(s) for s in strip.steps) if strip.image[0] else strip.steps
            yield dataclasses.replace(strip, steps=steps)

    monkeypatch.setattr(module, "plan_strips", hasty)
    strips, whole = of_strips("same", "torch", 16)
    assert strips.shape == whole.shape
    assert np.abs(strips - whole).max() > 1e-3 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (CASES["paper"].replace(norm="instance"), "depends on the whole image"),
        (FAMILIES["multiresunet"], "does not support add"),
    ],
)
def test_a_network_without_strips_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        list(plan_strips(config.graph, 100, 8))
