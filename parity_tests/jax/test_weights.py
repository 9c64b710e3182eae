"""Weights that do not fit the model, in JAX."""

import jax.numpy as jnp
import pytest

from unet_jax import UNet
from unet_jax import weights as jax_weights
from unet_spec import InputError, preset


def test_a_model_that_is_not_its_config_is_not_loaded():
    model = UNet(preset("paper", widths=(2, 4)), 0)
    tensors = jax_weights.tensors(model)
    model.head.kernel.set_value(jnp.zeros((1, 1, 2, 3)))
    with pytest.raises(InputError, match=r"head.kernel of the model has shape \(1, 1, 2, 3\); .* say \(1, 1, 2, 2\)"):
        jax_weights.load_tensors(model, tensors)
