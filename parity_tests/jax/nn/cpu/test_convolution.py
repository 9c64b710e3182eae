"""Convolutions on a CPU compared with XLA's own: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_jax.nn.cpu import volumes, winograd
from unet_jax.nn.cpu.convolution import convolve

from .cases import case, direct, everywhere, far, value_and_gradients


@pytest.mark.parametrize(
    ("shape", "window", "features", "convolutions", "products"),
    [
        ((2, 12, 18, 5), (3, 3), 7, 0, 16),  # Winograd
        ((1, 4, 4, 2), (3, 3), 1, 0, 16),
        ((2, 13, 18, 5), (3, 3), 7, 1, 0),  # an odd size
        ((2, 12, 18, 5), (5, 2), 7, 1, 0),  # another window
        ((2, 12, 18, 5), (1, 1), 7, 1, 0),
        ((2, 12, 18, 1), (3, 3), 7, 0, 0),  # shifted images
        ((2, 13, 9, 1), (2, 4), 1, 0, 0),
        ((2, 13, 9, 1), (2, 5), 1, 1, 0),  # too many shifted images
        ((2, 5, 12, 8, 3), (3, 3, 3), 4, 0, 16),  # a volume: Winograd in a loop over planes
        ((2, 4, 4, 6, 3), (2, 3, 3), 4, 0, 16),
        ((2, 5, 12, 8, 3), (1, 3, 3), 4, 0, 16),  # all planes as images
        ((2, 5, 7, 8, 3), (3, 3, 3), 4, 3, 0),  # the sum of three convolutions of images
        ((2, 5, 7, 8, 3), (2, 1, 3), 4, 2, 0),
        ((1, 4, 5, 8, 1), (3, 3, 3), 4, 0, 0),
    ],
)
def test_it_is_the_convolution_and_its_gradients(monkeypatch, shape, window, features, convolutions, products):
    everywhere(monkeypatch)
    with jax.enable_x64(True):
        given = case(shape, features, window)
        found, wanted = (value_and_gradients(f, *given) for f in (convolve, direct))
        text = str(jax.make_jaxpr(convolve)(*given[:2]))
    assert max(far(a, b) for a, b in zip(found, wanted, strict=True)) < 1e-14
    assert (text.count("conv_general_dilated["), text.count("dot_general[")) == (convolutions, products)


def test_the_gradient_for_the_input_is_such_a_convolution_or_xlas(monkeypatch):
    x, kernel, g = case(dtype=np.float32)

    def products():
        return str(jax.make_jaxpr(lambda x: jax.vjp(lambda x: convolve(x, kernel), x)[1](g))(x)).count("dot_general[")

    assert products() == 0
    everywhere(monkeypatch)
    assert products() == 32


@pytest.mark.parametrize(("limit", "products"), [(4.9, 0), (4.5, 16), (4.0, 32)])  # of the value 4.8, the gradient 4.04
def test_of_a_volume_value_and_gradient_are_chosen_by_their_own_shapes(monkeypatch, limit, products):
    everywhere(monkeypatch)
    monkeypatch.setattr(volumes, "_SAVED", limit)
    monkeypatch.setattr(winograd, "_SAVED", 1000)
    with jax.enable_x64(True):
        given = case((1, 4, 6, 8, 5), 7, (3, 3, 3))
        found, wanted = (value_and_gradients(f, *given) for f in (convolve, direct))
        text = str(jax.make_jaxpr(lambda x, k, g: jax.vjp(convolve, x, k)[1](g))(*given))
    assert max(far(a, b) for a, b in zip(found, wanted, strict=True)) < 1e-14
    assert text.count("dot_general[") == products


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "window"), [((1, 34, 34, 64), (3, 3)), ((1, 5, 18, 18, 32), (3, 3, 3))])
def test_in_float32_it_is_about_as_near_as_the_direct_sum(monkeypatch, shape, window):
    everywhere(monkeypatch)
    with jax.enable_x64(True):
        given = case(shape, 48, window)
        exact = value_and_gradients(direct, *given)
        small = [a.astype(jnp.float32) for a in given]
        errors = [
            [far(a, b) for a, b in zip(value_and_gradients(f, *small), exact, strict=True)] for f in (convolve, direct)
        ]
    assert all(mine < 4 * theirs for mine, theirs in zip(*errors, strict=True)), errors
    assert max(errors[0]) < 2e-6
