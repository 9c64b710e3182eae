"""Convolutions for comparisons."""

import jax
import jax.numpy as jnp
import numpy as np

from unet_jax.nn.cpu import volumes, winograd
from unet_jax.nn.spatial import conv_axes


def direct(x, kernel):
    return jax.lax.conv_general_dilated(
        x, kernel, (1,) * (x.ndim - 2), "VALID", dimension_numbers=conv_axes(x.ndim), precision="highest"
    )


def case(shape=(2, 12, 18, 5), features=7, window=(3, 3), dtype=np.float64):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(*window, shape[-1], features))
    sizes = (n - w + 1 for n, w in zip(shape[1:], window, strict=False))
    return [jnp.asarray(a, dtype) for a in (x, kernel, rng.normal(size=(shape[0], *sizes, features)))]


def everywhere(monkeypatch):
    """Uses Winograd's algorithm wherever it is possible, for any size."""
    for module in (winograd, volumes):
        monkeypatch.setattr(module, "_SAVED", 0)
        monkeypatch.setattr(module, "_SMALLEST", 0)


def value_and_gradients(function, x, kernel, g):
    def run(x, kernel, g):
        y, back = jax.vjp(function, x, kernel)
        return (y, *back(g))

    return [np.asarray(a) for a in jax.jit(run)(x, kernel, g)]  # without jit, each operation is compiled by itself


def far(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())
