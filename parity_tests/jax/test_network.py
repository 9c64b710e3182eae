"""The loss of a network with several outputs is the same scalar in both twins."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from unet_jax import losses as jax_losses
from unet_torch import losses as torch_losses

from ..fixtures.family_cases import FAMILIES
from ..fixtures.family_twins import image, to_torch, twins


def labelled(config):
    x = image(config)
    return x, np.random.default_rng(8).integers(0, config.classes, x.shape[:-1])


@pytest.mark.parametrize("name", ["unet++-deep", "m-net", "attention-unet"])
def test_the_loss_is_one_number_in_both(name):
    config = FAMILIES[name]
    flax, pytorch, _ = twins(config)
    x, y = labelled(config)
    run = nnx.jit(lambda model, x, y: model.loss(jax_losses.cross_entropy, x, y, None, nnx.Rngs(dropout=0)))
    found = run(flax, jnp.asarray(x), jnp.asarray(y))
    other = pytorch.loss(torch_losses.cross_entropy, to_torch(x), torch.from_numpy(y))
    assert abs(float(found) - other.item()) < 1e-12
    if name == "attention-unet":
        parts = [nnx.jit(lambda model, x: model(x))(flax, jnp.asarray(x))]
    else:
        parts = nnx.jit(lambda model, x: model.outputs(x))(flax, jnp.asarray(x))
        if name == "m-net":
            parts = [*parts, nnx.jit(lambda model, x: model(x))(flax, jnp.asarray(x))]
    assert len(parts) == {"unet++-deep": 3, "m-net": 4, "attention-unet": 1}[name]
    mean = np.mean([float(jax_losses.cross_entropy(logits, jnp.asarray(y))) for logits in parts])
    assert abs(float(found) - mean) < 1e-12
