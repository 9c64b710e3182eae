"""Variants of convolutions and norms, and PReLU, sigmoid and DropBlock, against PyTorch and their formulas."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_spec.ops import (
    BilinearConvTranspose,
    CroppedConvTranspose,
    DropBlock,
    PlainInstanceNorm,
    PReLU,
    ShiftBatchNorm,
    Sigmoid,
    StdConv,
)
from unet_spec.ops.variants import bilinear_kernel

RNG = np.random.default_rng(0)
X = RNG.normal(1, 2, (2, 7, 8, 3))


def first(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


def last(x):
    return np.moveaxis(x.numpy(), 1, -1)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_a_standardised_convolution(eps):
    op, weight = StdConv(3, 2, (3, 3), (1, 1), (1, 1), False, eps), RNG.normal(2, 3, (2, 3, 3, 3))
    own = np.stack([(w - w.mean()) / np.sqrt(w.var() + eps) for w in weight])
    np.testing.assert_allclose(op.standardised(weight), own, rtol=1e-12)
    wanted = last(F.conv2d(first(X), torch.from_numpy(own), padding=1))
    np.testing.assert_allclose(op.compute({"weight": weight}, X), wanted, rtol=1e-11, atol=1e-12)
    assert op.summary() == "3x3 standardised"
    assert (op.scaling, op.rowwise, StdConv(3, 2, (3, 3), (1, 1), (1, 1)).eps) == ((), False, 1e-5)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 0), (2, 3), (0, 0)])
def test_a_transposed_convolution_that_is_cut(low, high):
    op = CroppedConvTranspose(3, 2, (5, 5), (2, 2), True, low, high)
    params = {"weight": RNG.normal(size=(3, 2, 5, 5)), "bias": RNG.normal(size=2)}
    whole = last(F.conv_transpose2d(first(X), *map(torch.from_numpy, params.values()), 2))
    wanted = whole[:, low : whole.shape[1] - high, low : whole.shape[2] - high]
    np.testing.assert_allclose(op.compute(params, X), wanted, rtol=1e-11, atol=1e-12)
    assert (op.output_size(0, 7), op.output_size(1, 8)) == wanted.shape[1:3]
    assert op.input_intervals(0, (3, 6), 7) == (((3 + low - 3) // 2, (5 + low) // 2 + 1),)
    assert op.summary() == f"5x5 stride 2x2, cut {low} and {high}"


@pytest.mark.parametrize(("k", "taps"), [(2, [0.5, 0.5]), (3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25])])
def test_a_bilinear_kernel(k, taps):
    found = bilinear_kernel(2, (k, 4))
    wanted = np.multiply.outer(taps, [0.25, 0.75, 0.75, 0.25])
    np.testing.assert_allclose(found, np.stack([[wanted, 0 * wanted], [0 * wanted, wanted]]))


def test_upsampling_that_is_fixed_or_trained():
    for fixed, role, words in ((True, "fixed", " bilinear, fixed"), (False, "parameter", " bilinear")):
        op = BilinearConvTranspose(2, 2, (4, 4), (2, 2), fixed=fixed)
        (weight,) = op.parameters().values()
        assert (weight.role, weight.start, weight.shape) == (role, "bilinear", (2, 2, 4, 4))
        assert op.summary() == f"4x4 stride 2x2{words}"
    assert BilinearConvTranspose(2, 2, (4, 4), (2, 2)) == BilinearConvTranspose(2, 2, (4, 4), (2, 2), False, True)


def test_norms_without_a_scale():
    params = {"bias": RNG.normal(size=3), "running_mean": RNG.normal(size=3), "running_var": RNG.uniform(1, 2, 3)}
    mean, var, bias = (torch.from_numpy(params[n]) for n in ("running_mean", "running_var", "bias"))
    for training in (False, True):
        wanted = last(F.batch_norm(first(X), mean.clone(), var.clone(), None, bias, training, 0.1, 1e-3))
        found = ShiftBatchNorm(3, 1e-3).compute(params, X, training=training)
        np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-12)
    assert set(ShiftBatchNorm(3).parameters()) == set(params)
    wanted = last(F.instance_norm(first(X), eps=1e-3))
    np.testing.assert_allclose(PlainInstanceNorm(3, 1e-3).compute({}, X), wanted, rtol=1e-11, atol=1e-12)
    assert PlainInstanceNorm(3).parameters() == {}


def test_prelu_and_sigmoid():
    x = np.array([[[-1000.0], [-2.0], [0.0], [2.0], [1000.0]]])
    np.testing.assert_allclose(PReLU().compute({"weight": np.array([0.3])}, x).ravel(), [-300, -0.6, 0, 2, 1000])
    (slope,) = PReLU().parameters().values()
    assert (slope.shape, slope.constant) == ((1,), 0.25)
    e = np.exp(-2)
    np.testing.assert_allclose(Sigmoid().compute({}, x).ravel(), [0, e / (1 + e), 0.5, 1 / (1 + e), 1], atol=1e-300)


def test_dropped_squares():
    op = DropBlock(0.8, 3)
    assert op.gamma((5, 7)) == pytest.approx(0.2 / 9 * 35 / 15)
    assert op.gamma((3, 4, 5)) == pytest.approx(0.2 / 27 * 60 / 6)
    assert (op.gamma((3, 3)) > 0, op.gamma((2, 9)), op.gamma((9, 2))) == (True, 0.0, 0.0)
    mask = np.ones((2, 7, 8, 3))
    mask[0, 2:5, 1:4, 1] = 0
    np.testing.assert_allclose(op.compute({"mask": mask}, X, training=True), X * mask * (336 / 327))
    np.testing.assert_array_equal(op.compute({"mask": mask}, X), X)
    assert (op.summary(), DropBlock()) == ("3, keep 0.8", DropBlock(0.9, 7))
