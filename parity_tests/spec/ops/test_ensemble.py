"""The mean of probabilities, against NumPy's own arithmetic and where exponentials underflow."""

import numpy as np
import pytest

from unet_spec.ops import MeanProbability, ScaleShift

RNG = np.random.default_rng(0)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("function", "of"), [("softmax", softmax), ("sigmoid", sigmoid)])
@pytest.mark.parametrize("count", [1, 3])
def test_the_probability_of_the_result_is_the_mean(function, of, count):
    logits = [RNG.normal(0, 3, (2, 4, 5, 3)) for _ in range(count)]
    found = of(MeanProbability(function).compute({}, *logits))
    np.testing.assert_allclose(found, np.mean([of(x) for x in logits], axis=0), rtol=1e-12)


@pytest.mark.parametrize("function", ["softmax", "sigmoid"])
def test_probabilities_that_no_float_holds_keep_their_logarithms(function):
    """Two members that agree to 1,000 in the logit: the mean of both is what either says."""
    far = np.array([[[-1000.0, 0.0, 1000.0]]])
    found = MeanProbability(function).compute({}, far, far)
    difference = np.diff(found if function == "softmax" else found - 0.0)
    np.testing.assert_allclose(difference, np.diff(far), rtol=1e-12)
    assert found.dtype == np.float64
    assert MeanProbability(function).compute({}, far.astype(np.float32)).dtype == np.float32


def test_scale_and_shift_are_per_channel_and_not_trained():
    op = ScaleShift(2)
    params = {"weight": np.array([2.0, -1.0]), "bias": np.array([0.5, 0.0])}
    np.testing.assert_array_equal(op.compute(params, np.ones((1, 1, 2))), [[[2.5, -1.0]]])
    assert {p.role for p in op.parameters().values()} == {"fixed"}
