"""A layer in a CPU step, and the up-convolution compared with PyTorch."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from unet_jax.nn.convolution import Conv, UpConv
from unet_jax.nn.cpu import convolution
from unet_jax.nn.cpu.convolution import convolve

from .cpu.cases import everywhere


def layer(channels, features, kernel, strides, pad, bias=True):
    rngs = nnx.Rngs(1)
    padding = [(pad, pad)] * len(kernel)
    return Conv(channels, features, kernel, strides, padding=padding, use_bias=bias, param_dtype=jnp.float64, rngs=rngs)


def gradients(run, conv, x):
    """Value and gradients of `run(conv, x)`. Without jit, each operation would be compiled by itself."""
    return nnx.jit(nnx.value_and_grad(run, argnums=(0, 1)))(conv, x)


@pytest.mark.parametrize(
    ("kernel", "strides", "pad", "size", "ours"),
    [
        ((3, 3), 1, 0, (12, 10), True),
        ((3, 3), (1, 1), 1, (12, 10), True),
        ((3, 3), 1, 1, (13, 10), True),
        ((3, 3), (2, 2), 1, (12, 10), False),
        ((3, 3), (1, 2), 1, (12, 10), False),
        ((1, 1), 1, 0, (12, 10), False),
        ((1, 1), 2, 0, (12, 10), False),
        ((1, 1), 1, 1, (12, 10), True),
        ((5, 3), 1, 1, (12, 10), True),
        ((3, 3, 3), 1, 1, (6, 6, 6), True),
        ((3, 3, 3), 1, 0, (6, 7, 6), True),
        ((3, 3, 3), 2, 1, (6, 6, 6), False),
        ((3,), 1, 1, (12,), False),
        ((1, 1, 1), 1, 0, (6, 6, 6), False),
    ],
)
def test_a_layer_is_the_same_in_a_cpu_step(monkeypatch, kernel, strides, pad, size, ours):
    everywhere(monkeypatch)
    used = []
    monkeypatch.setattr(convolution, "convolve", lambda *a: used.append(1) or convolve(*a))
    with jax.enable_x64(True):
        conv = layer(4, 6, kernel, strides, pad)
        conv.bias[...] = jnp.arange(6.0)
        x = jnp.asarray(np.random.default_rng(0).normal(size=(2, *size, 4)))
        weight = jnp.asarray(np.random.default_rng(1).normal(size=conv(x).shape))

        def run(conv, x):
            return (conv(x) * weight).sum()

        wanted = gradients(run, conv, x)
        assert not used
        conv.set_attributes(cpu_step=True)
        found = gradients(run, conv, x)
    assert bool(used) is ours
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_bfloat16_is_left_to_xla(monkeypatch):
    everywhere(monkeypatch)
    monkeypatch.setattr(convolution, "convolve", None)
    conv = Conv(4, 6, (3, 3), padding=[(0, 0)] * 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    conv.set_attributes(cpu_step=True)
    assert conv(jnp.ones((1, 12, 12, 4))).dtype == jnp.bfloat16


@pytest.mark.parametrize("window", [(2, 2), (1, 2), (2, 2, 2), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_up_conv_is_the_transposed_convolution(window: tuple[int, ...], bias: bool):
    rng = np.random.default_rng(1)
    options = {"use_bias": bias, "transpose_kernel": True, "param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    layer = UpConv(3, 4, window, window, padding="VALID", **options)
    graphdef, params = nnx.split(layer)
    params = jax.tree.map(lambda p: jnp.array(rng.normal(size=p.shape)), params)
    x = jnp.array(rng.normal(size=(2, *range(3, 3 + len(window)), 3)))

    def ours(params, x):
        return nnx.merge(graphdef, params)(x)

    def general(params, x):
        return nnx.ConvTranspose.__call__(nnx.merge(graphdef, params), x)

    @functools.partial(jax.jit, static_argnums=0)
    def with_gradients(function, params, x, way):
        y, back = jax.vjp(function, params, x)
        return y, back(way)

    way = jnp.array(rng.normal(size=jax.eval_shape(general, params, x).shape))
    (found, back), (wanted, back_of_wanted) = (with_gradients(f, params, x, way) for f in (ours, general))
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(back_of_wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
