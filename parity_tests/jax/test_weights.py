"""Weights that do not fit the model, in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from unet_jax import UNet
from unet_jax import weights as jax_weights
from unet_spec import InputError, initial_tensors, preset


def test_a_model_that_is_not_its_config_is_not_loaded():
    model = UNet(preset("paper", widths=(2, 4)), 0)
    tensors = jax_weights.tensors(model)
    model.head.kernel.set_value(jnp.zeros((1, 1, 2, 3)))
    with pytest.raises(InputError, match=r"head.kernel of the model has shape \(1, 1, 2, 3\); .* say \(1, 1, 2, 2\)"):
        jax_weights.load_tensors(model, tensors)


def test_a_seed_that_is_traced_draws_the_same_weights_by_a_callback(monkeypatch):
    """As in nnx.vmap, which makes several networks at once; a plain seed needs no callback."""
    config = preset("same", widths=(2, 4))
    traced = jax.jit(lambda seed: nnx.state(UNet(config, seed), (nnx.Param, nnx.BatchStat)))
    assert "pure_callback" in str(jax.make_jaxpr(traced)(3))
    found = {".".join(map(str, path)): v[...] for path, v in nnx.to_flat_state(traced(3))}
    monkeypatch.setattr(jax, "pure_callback", None)
    plain = UNet(config, 3)
    wanted = {".".join(path): v[...] for path, v in jax_weights.variables(plain).items()}
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
    for name, value in initial_tensors(config.graph, 3, np.float32).items():
        np.testing.assert_array_equal(jax_weights.tensors(plain)[name], value)


def test_float64_weights_are_refused_where_jax_would_round_them():
    model = UNet(preset("paper", widths=(2, 4)), 0)
    tensors = {name: t.astype(np.float64) for name, t in jax_weights.tensors(model).items()}
    with jax.enable_x64(False), pytest.raises(InputError, match="these weights are float64; call"):
        jax_weights.load_tensors(model, tensors)
    jax_weights.load_tensors(model, tensors)
    assert {t.dtype.name for t in jax_weights.tensors(model).values()} == {"float64"}


def test_tensors_are_copies():
    model = UNet(preset("same", widths=(2, 4)), 0)
    given = {name: t.copy() for name, t in jax_weights.tensors(model).items()}
    jax_weights.load_tensors(model, given)
    before = {name: t.copy() for name, t in given.items()}
    for t in given.values():
        t += 1
    for name, t in jax_weights.tensors(model).items():
        np.testing.assert_array_equal(t, before[name])
