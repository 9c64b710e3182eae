"""Common NNX recipes work with the networks: searching norms, filters, frozen parts, many seeds at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import unet_jax
from unet_spec import preset

CONFIG = preset("article", widths=(2, 3), conv_bias=False)
X = np.random.default_rng(0).normal(size=(2, 44, 44, CONFIG.in_channels)).astype(np.float32)


def norms(model) -> list:
    return [m for _, m in nnx.iter_modules(model) if isinstance(m, nnx.BatchNorm)]


def test_batch_norms_are_flaxs():
    model = unet_jax.create(CONFIG)
    assert len(norms(model)) == len(jax.tree.leaves(nnx.state(model, nnx.BatchStat))) // 2


@pytest.mark.slow
def test_a_frozen_encoder_stays_with_its_norms():
    """A filter on the path removes gradients, and the encoder's norms are in evaluation mode."""
    model = unet_jax.create(CONFIG)
    model.train()
    model.encoder.eval()
    trained = nnx.All(nnx.Param, nnx.Not(nnx.PathContains("encoder")))
    optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=trained)
    before = unet_jax.tensors(model)

    def loss(model):
        return jnp.square(model(X)).mean()

    grads = nnx.grad(loss, argnums=nnx.DiffState(0, trained))(model)
    optimizer.update(model, grads)
    after = unet_jax.tensors(model)
    moved = {name for name, t in after.items() if t.tobytes() != before[name].tobytes()}
    assert moved
    assert not [name for name in moved if name.startswith("encoder.")]
    assert any("running_mean" in name for name in moved)


def test_vmap_over_seeds_makes_the_networks_of_these_seeds():
    many = nnx.vmap(lambda seed: unet_jax.create(CONFIG, seed))(jnp.arange(3))
    graphdef, state = nnx.split(many)
    one = nnx.merge(graphdef, jax.tree.map(lambda leaf: leaf[2], state))
    expected = unet_jax.tensors(unet_jax.create(CONFIG, 2))
    assert all(t.tobytes() == expected[name].tobytes() for name, t in unet_jax.tensors(one).items())


def test_groups_without_weight_decay():
    """Norms and biases are selected by the number of axes, as in optax recipes."""
    params = nnx.to_flat_state(nnx.state(unet_jax.create(CONFIG), nnx.Param))
    assert {path[-1] for path, v in params if v.ndim > 1} == {"kernel"}
    assert {path[-1] for path, v in params if v.ndim <= 1} == {"scale", "bias"}
