"""The battery itself: it records its measurements, fails when it must, and captures any module."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import unet_torch.nn.blocks
from unet_spec.families.unet import PRESETS

from . import CASES, CHECKS, Measurement, plan, require, run_battery
from .capture import nnx_calls, torch_calls
from .measure import distance, farthest
from .run import PLAN, TIERS


def test_a_measurement_over_its_bound_or_not_a_number_or_crashed_has_not_passed():
    def measured(worst, crash=""):
        return Measurement("jax", "float64", worst, 1e-12, case="c", check="k", crash=crash)

    assert measured(1e-12).passed
    for bad in (measured(2e-12), measured(float("nan")), measured(float("inf")), measured(0.0, "ValueError: no")):
        assert not bad.passed
        with pytest.raises(AssertionError, match="c k"):
            require([measured(0.0), bad])
    with pytest.raises(AssertionError, match="measured nothing"):
        require([])


def test_a_distance_sees_shapes_and_values_that_are_not_finite():
    one = np.ones((2, 3))
    assert distance(one * 2, one) == 1.0
    assert distance(one[:1], one) == np.inf
    assert distance(one * np.nan, one) == np.inf
    assert distance(one, one * 0) == np.inf
    assert distance(one * 0, one * 0) == 0.0
    assert farthest({"a": one}, {"a": one, "b": one}) == (np.inf, "b")


def test_a_planted_bug_is_recorded_and_not_raised(monkeypatch):
    def off_centre(x, like):
        for axis in range(2, x.dim()):
            x = x.narrow(axis, 0, like.shape[axis])
        return x

    assert all(m.passed for m in run_battery("paper", ["forward.layers"]))
    monkeypatch.setattr(unet_torch.nn.blocks, "center_crop", off_centre)
    bad = [m for m in run_battery("paper", ["forward.layers"]) if not m.passed]
    assert [m.runtime for m in bad] == ["torch"]
    assert bad[0].where.startswith("decoder.")


def test_a_crash_is_recorded_as_one(monkeypatch):
    monkeypatch.setattr(unet_torch.nn.blocks, "center_crop", None)
    (found,) = run_battery("paper", ["forward.layers"])
    assert found.crash.startswith("TypeError")
    assert not found.passed


def test_every_preset_is_a_case_and_every_check_runs_somewhere_by_default_or_is_slow():
    shapes = [{**c.config.to_dict(), "widths": 0, "in_channels": 0, "out_channels": 0} for c in CASES.values()]
    for config in PRESETS.values():
        assert {**config.to_dict(), "widths": 0, "in_channels": 0, "out_channels": 0} in shapes
    run = {name for _, name, reason in plan() if not reason}
    assert set(PLAN) == set(CHECKS)
    assert all(len(tiers) == len(TIERS) for tiers in PLAN.values())
    assert set(CHECKS) - run == {name for name, tiers in PLAN.items() if "+" not in tiers}
    assert all(reason or case.name in CASES for case, _, reason in plan(slow=True))


class Double(nnx.Module):
    def __call__(self, x):
        return 2 * x


class Quadruple(Double):
    def __call__(self, x):
        return 2 * super().__call__(x)


class Network(nnx.Module):
    def __init__(self):
        self.layers = nnx.List([Double(), Quadruple()])

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.layers[0](x)


@pytest.mark.parametrize("jit", [False, True])
def test_calls_of_an_nnx_module_are_seen_once_each_by_path(jit):
    def run(x):
        model = Network()
        with nnx_calls(model) as calls:
            model(x)
        return {path: (call.args[0], call.output) for path, call in calls.items()}

    found = (jax.jit(run) if jit else run)(jnp.ones(()))
    values = {path: (float(given), float(output)) for path, (given, output) in found.items()}
    assert values == {"layers.0": (1, 2), "layers.1": (2, 8), "layers.0#2": (8, 16), "": (1, 16)}
    assert "__call__" in vars(Double)
    assert Double.__call__.__name__ == Quadruple.__call__.__name__ == "__call__"


def test_calls_of_a_torch_module_are_seen_by_path():
    model = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Sequential(torch.nn.Sigmoid()))
    with torch_calls(model) as calls:
        model(torch.tensor([-1.0, 2.0]))
    assert list(calls) == ["0", "1.0", "1", ""]
    assert calls["0"].output.tolist() == [0, 2]
    assert calls["1.0"].args[0] is calls["0"].output
    with torch_calls(model) as later:
        pass
    assert later == {}
