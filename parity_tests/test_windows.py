"""unet_jax.windows and unet_jax.compiling: the faster forms are the same functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from unet_jax import compiler_options, compiling
from unet_jax.windows import UpConv, max_pool


@pytest.mark.parametrize("window", [(2, 2), (1, 2), (3, 2), (2, 2, 2)], ids=str)
def test_max_pool_is_pytorchs(window: tuple[int, ...]):
    """Values and gradient, on few different values (ties everywhere), NaN among them, and sizes that leave a rest."""
    rng = np.random.default_rng(0)
    size = (2, *(7 for _ in window), 3)
    x = rng.integers(0, 3, size).astype(np.float64)
    x[rng.random(size) < 0.03] = np.nan
    pool = torch.nn.functional.max_pool2d if len(window) == 2 else torch.nn.functional.max_pool3d
    given = torch.from_numpy(x).movedim(-1, 1).requires_grad_(True)
    wanted = pool(given, window)
    way = rng.normal(size=wanted.movedim(1, -1).shape)
    wanted.backward(torch.from_numpy(way).movedim(-1, 1))
    found, back = jax.vjp(lambda x: max_pool(x, window), jnp.array(x))
    np.testing.assert_array_equal(found, wanted.detach().movedim(1, -1))
    np.testing.assert_array_equal(back(jnp.array(way))[0], given.grad.movedim(1, -1))  # type: ignore[union-attr]


@pytest.mark.parametrize("window", [(2, 2), (1, 2), (2, 2, 2), (1, 2, 3)], ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_up_conv_is_the_transposed_convolution(window: tuple[int, ...], bias: bool):
    rng = np.random.default_rng(1)
    layer = UpConv(3, 4, window, nnx.Rngs(0), jnp.float64, bias)
    graphdef, params = nnx.split(layer)
    params = jax.tree.map(lambda p: jnp.array(rng.normal(size=p.shape)), params)
    x = jnp.array(rng.normal(size=(2, *range(3, 3 + len(window)), 3)))

    def ours(params, x):
        return nnx.merge(graphdef, params)(x)

    def general(params, x):
        return nnx.ConvTranspose.__call__(nnx.merge(graphdef, params), x)

    (found, back), (wanted, back_of_wanted) = jax.vjp(ours, params, x), jax.vjp(general, params, x)
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    way = jnp.array(rng.normal(size=found.shape))
    for a, b in zip(jax.tree.leaves(back(way)), jax.tree.leaves(back_of_wanted(way)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the option is for CPUs")
def test_no_slow_convolutions_are_compiled():
    """XLA would choose YNNPACK for this one. Where a version of XLA has another name for the option, this fails."""
    x, w = jnp.ones((1, 40, 40, 8), jnp.float32), jnp.ones((3, 3, 8, 8), jnp.float32)

    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    assert "ynn" not in jax.jit(conv, compiler_options=compiler_options()).lower(x, w).compile().as_text()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the option is for CPUs")
@pytest.mark.parametrize("wanted", [True, False])
def test_long_vectors_are_asked_for_where_they_are_wanted(wanted, tmp_path):
    options = {**compiler_options(long_vectors=wanted), "xla_dump_to": str(tmp_path)}
    jax.jit(lambda x: jnp.exp(x) + 1, compiler_options=options).lower(jnp.ones((64, 64))).compile()
    code = [file.read_text() for file in tmp_path.glob("*with-opt.ll")]
    assert code
    assert any('"prefer-vector-width"="512"' in each for each in code) == wanted


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are for CPUs")
def test_an_option_that_xla_does_not_know_is_left_out_alone(monkeypatch):
    known = compiler_options(long_vectors=True)
    assert len(known) == 2
    monkeypatch.setattr(compiling, "_VECTORS", {"xla_cpu_no_such_option": "1"})
    assert compiler_options.__wrapped__(long_vectors=True) == compiler_options()
