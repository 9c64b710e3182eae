"""Operations on single values, against their formulas and against PyTorch, and what they say of themselves."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_spec.ops import ACTIVATIONS, Activation, Dropout, Input, LeakyReLU, SizeError

VALUES = np.array([-1000.0, -20.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0, 20.0, 1000.0]).reshape(1, -1, 1)
FORMULAS = {
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x >= 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + math.exp(-x)) if x > -700 else 0.0,
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_activation_is_its_formula_and_that_of_pytorch(name, dtype):
    x = VALUES.astype(dtype)
    found = Activation(name).compute({}, x)
    assert (found.dtype, found.shape) == (dtype, x.shape)
    wanted = np.array([FORMULAS[name](float(v)) for v in x.ravel()]).reshape(x.shape)
    bound = 1e-14 if dtype == np.float64 else 3e-7
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound)
    theirs = getattr(F, name)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, theirs, rtol=bound, atol=bound)
    assert Activation(name).summary() == name


def test_there_are_no_other_activations():
    assert set(ACTIVATIONS) == set(FORMULAS)
    assert Activation().function == "relu"


@pytest.mark.parametrize("slope", [0.01, 0.25])
def test_a_slope_of_its_own(slope):
    op = LeakyReLU(slope=slope)
    x = np.array([[[-2.0], [0.0], [3.0]]], np.float32)
    np.testing.assert_allclose(op.compute({}, x).ravel(), [-2 * slope, 0, 3], rtol=1e-6)
    assert op.compute({}, x).dtype == np.float32
    assert op.summary() == f"leaky_relu {slope:g}"
    assert LeakyReLU().slope == 0.01


def test_dropout_keeps_the_mean_in_training_and_does_nothing_else():
    x, mask = np.arange(1.0, 5.0).reshape(1, 4, 1), np.array([1.0, 0, 0, 1]).reshape(1, 4, 1)
    op = Dropout(0.2)
    np.testing.assert_allclose(op.compute({"mask": mask}, x, training=True).ravel(), [1 / 0.8, 0, 0, 4 / 0.8])
    np.testing.assert_array_equal(op.compute({"mask": mask}, x), x)
    assert (op.summary(), Dropout().rate) == ("0.2", 0.5)


def test_an_input_has_its_channels_and_multiples_of_its_step():
    op = Input(3, 4)
    assert (op.channels(), op.output_size(0, 8), Input(3).output_size(0, 7)) == (3, 8, 7)
    for size in (7, 9):
        with pytest.raises(SizeError, match=f"{size} is not a multiple of 4"):
            op.output_size(0, size)
