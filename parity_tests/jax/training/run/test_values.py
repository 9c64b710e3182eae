"""The values of a run, which are arguments of the step."""

import jax
import numpy as np
import pytest

from unet_jax import RunValues, TrainSettings

SETTINGS = TrainSettings().replace(steps=40, warmup=0.25, seed=7)


def test_the_values_are_those_of_the_run():
    values = RunValues.of(SETTINGS, [120.0, 3.0], np.array([30.0, 0.5]))
    assert values.mean.tolist() == [120, 3]
    assert values.std.tolist() == [30, 0.5]
    assert values.span.tolist() == [10, 40]
    assert {str(v.dtype) for v in (values.mean, values.std)} == {"float32"}
    assert values.span.dtype == np.int32


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**40 + 1])
def test_the_key_is_that_of_the_seed(seed):
    values = RunValues.of(SETTINGS.replace(seed=seed), [0.0], [1.0])
    draw = jax.random.uniform(jax.random.wrap_key_data(values.seed))
    assert draw == jax.random.uniform(jax.random.key(seed))
    assert isinstance(values.seed, np.ndarray)  # an array of no device: with several, each process takes it as it is
