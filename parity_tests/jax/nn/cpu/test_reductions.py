"""Sums over pixels in two stages."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.nn.cpu.reductions import broadcast_channels, channel_mean


@pytest.mark.parametrize("shape", [(3, 8, 5, 4), (2, 3, 4, 5, 6)])
def test_sums_over_pixels_in_two_steps(shape):
    with jax.enable_x64(True):
        x, g = (jnp.asarray(np.random.default_rng(s).normal(size=shape)) for s in (0, 1))
        values = jnp.arange(1.0, 1 + shape[-1])
        for combine in (jnp.add, jnp.multiply):
            found, wanted = (
                jax.vjp(lambda v, two=two, c=combine: c(x, broadcast_channels(v, x, two)), values)
                for two in (True, False)
            )
            np.testing.assert_array_equal(found[0], wanted[0])
            np.testing.assert_allclose(found[1](g)[0], wanted[1](g)[0], rtol=1e-12)
        np.testing.assert_allclose(channel_mean(x, True), channel_mean(x, False), rtol=1e-12)
        assert channel_mean(x, True).shape == shape[-1:]


@pytest.mark.parametrize("shape", [(3, 8, 5, 4), (2, 3, 4, 5, 6)])
def test_the_first_of_two_steps_is_along_the_last_spatial_axis(shape):
    """Where neighbours lie beside each other in memory; any other axis gives the same sum more slowly."""
    x, last = jnp.ones(shape), len(shape) - 2
    values = jnp.ones(shape[-1])
    back = jax.make_jaxpr(lambda v, g: jax.vjp(lambda v: x * broadcast_channels(v, x, True), v)[1](g))(values, x)
    mean = jax.make_jaxpr(lambda x: channel_mean(x, True))(x)
    for program, then in ((back, None), (mean, tuple(range(last)))):
        axes = re.findall(r"reduce_sum\[\s*axes=\(([\d, ]*)\)", str(program))
        found = [tuple(int(a) for a in each.split(",") if a.strip()) for each in axes]
        assert found[0] == (last,)
        assert then is None or found[1:] == [then]
