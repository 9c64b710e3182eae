"""Other losses of precision are distinguished from rounding."""

import math

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
import unet_torch.nn.pointwise as torch_pointwise
from unet_tools.diff.bounds import bound, fan_in, fan_out, largest_error, magnitude, perturbed, positions
from unet_tools.diff.sides.trace import Call

from .twins import diff, twins


def test_another_loss_of_precision_is_distinguished_from_rounding():
    """A layer that computes in float32 within a float64 network: an error of 1e-8, which a test at 1e-3 would not
    detect."""
    torch_model, jax_model = twins()

    class Single(torch_pointwise.Activation):
        def forward(self, x):
            return super().forward(x.float()).double()

    torch_model.encoder[1].act2.__class__ = Single
    report = diff(torch_model, jax_model)
    assert [s.name for s in report.steps if s.verdict == "differs"] == ["encoder.1.act2"]
    assert 1e-9 < report.first().worst.own < 1e-7


def call(kind, given, made, weights=None):
    inputs, outputs = [np.zeros(shape) for shape in given], {str(n): np.zeros(shape) for n, shape in enumerate(made)}
    return Call("", "", None, kind, inputs, outputs, weights or {}, 0.0, 0, 1)


CONV = call("Conv", [(2, 7, 9, 4)], [(2, 5, 8, 6)], {"weight": (6, 4, 3, 2), "bias": (6,)})
NORM = call("BatchNorm2d", [(2, 7, 9, 4)], [(2, 7, 9, 4)], {"weight": (4,)})
WIDE = call("LayerNorm", [(1, 50)], [(1, 50)])
POOL = call("MaxPool", [(2, 8, 6, 4)], [(2, 4, 2, 4)])
UP = call("Upsample", [(2, 4, 4, 4)], [(2, 8, 8, 4)])
CONCAT = call("Concat", [(1, 4, 4, 2), (1, 4, 4, 3)], [(1, 4, 4, 5)])
NOTHING = call("None", [], [])


@pytest.mark.parametrize(
    ("made", "inwards", "outwards", "places"),
    [
        (CONV, 4 * 3 * 2, 6 * 3 * 2, 2 * 5 * 8),
        (NORM, 2 * 7 * 9, 2 * 7 * 9, 2 * 7 * 9),
        (WIDE, 50, 50, 1),
        (POOL, 6, 6, 16),
        (UP, 1, 1, 128),
        (CONCAT, 1, 1, 16),
        (NOTHING, 1, 1, 1),
    ],
)
def test_the_number_of_terms_in_a_sum(made, inwards, outwards, places):
    assert (fan_in([made]), fan_out([made]), positions([made])) == (inwards, outwards, places)


def test_terms_of_several_calls_add_up():
    assert fan_in([CONV, POOL]) == 24 + 6
    assert fan_out([CONV, POOL]) == 36 + 6
    assert positions([CONV, POOL]) == 80 + 16
    assert fan_in([]) == fan_out([]) == positions([]) == 1


def test_a_kernel_that_its_channels_do_not_divide_is_rounded_up():
    assert fan_in([call("Conv", [(1, 4)], [(1, 5)], {"weight": (3, 4)})]) == 3  # 12 terms for 5 channels


def test_the_bound_is_the_formula():
    expected = math.sqrt(2 * math.log(2 * 9 * 100 / 1e-6)) * 3 * (0.5 + 1e-3 * 8)
    assert bound(0.5, 8.0, 9, 100, 1e-3) == pytest.approx(expected, rel=1e-12)
    assert bound(0.5, 8.0, 9, 0, 1e-3) == bound(0.5, 8.0, 9, 1, 1e-3)  # of an empty tensor


def test_every_value_moves_by_one_unit_up_or_down():
    values = np.linspace(1, 2, 400, dtype=np.float32).reshape(20, 20)
    moved = perturbed(values, 2.0**-10, np.random.default_rng(0))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(np.abs(moved / values - 1), 2.0**-10, rtol=1e-3)
    assert 100 < (moved > values).sum() < 300
    whole = np.arange(3)
    assert perturbed(whole, 0.5, np.random.default_rng(0)) is whole


@pytest.mark.parametrize(
    ("values", "reference", "expected"),
    [
        ([1.0, 5.0], [1.5, 4.0], 1.0),
        ([1.0, -5.0], [1.0, 4.0], 9.0),
        ([math.nan, 2.0], [math.nan, 1.0], 1.0),
        ([math.inf, 2.0], [math.inf, 1.0], 1.0),
        ([math.inf], [-math.inf], math.inf),
        ([math.nan], [1.0], math.inf),
        ([1.0], [math.nan], math.inf),
        ([1.0, 2.0], [1.0], math.inf),
        ([], [], 0.0),
    ],
)
def test_the_largest_error(values, reference, expected):
    assert largest_error(np.array(values), np.array(reference)) == expected


def test_the_largest_finite_value():
    assert magnitude(np.array([1.0, -3.0, np.inf, np.nan], np.float32)) == 3.0
    assert magnitude(np.array([np.nan])) == magnitude(np.zeros(0)) == 0.0
