"""The inputs of the losses: what is refused in both twins, and in which precision they are computed."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import unet_jax.losses
import unet_torch.losses
from unet_spec import InputError

from .test_losses import NAMES, OVERLAPPING, both, case


@pytest.mark.parametrize("name", [*NAMES, "distance_loss"])
def test_the_result_has_at_least_float32(name):
    """Weights of another precision do not change it; labels may have any integer type."""
    logits, labels, weights = case(classes=1 if name == "distance_loss" else 3, ignored=False)
    target = labels.astype(np.int8) if name != "distance_loss" else weights / 3
    z = torch.from_numpy(np.moveaxis(logits, -1, 1).copy())
    for dtype in ("float32", "bfloat16", "float16"):
        found = jax.eval_shape(getattr(unet_jax.losses, name), jnp.array(logits, dtype), target, weights)
        assert (found.dtype, found.shape) == ("float32", ())
        theirs = getattr(unet_torch.losses, name)(
            z.to(getattr(torch, dtype)), torch.from_numpy(target), torch.from_numpy(weights)
        )
        assert (theirs.dtype, theirs.shape) == (torch.float32, ())


def test_sums_of_a_large_image_in_float16_are_finite():
    """90,000 pixels: more than float16's largest number, 65,504."""
    names = [*NAMES, *OVERLAPPING, "distance_loss"]
    logits, labels = np.ones((1, 300, 300, 1)), np.ones((1, 300, 300), int)
    ours = jax.jit(
        lambda z, y: [getattr(unet_jax.losses, n)(z, y[..., None] if n in OVERLAPPING else y) for n in names]
    )(jnp.array(logits, jnp.float16), labels)
    z, y = torch.from_numpy(logits).movedim(-1, 1), torch.from_numpy(labels)
    for name, value in zip(names, ours, strict=True):
        target = y[:, None] if name in OVERLAPPING else y
        exact, half = (getattr(unet_torch.losses, name)(logits, target).item() for logits in (z, z.half()))
        assert half == pytest.approx(exact, rel=1e-3, abs=1e-6), name
        assert float(value) == pytest.approx(exact, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("name", [*NAMES, *OVERLAPPING])
def test_labels_of_other_axes_or_images_are_refused_and_never_broadcast(name):
    masks = name in OVERLAPPING
    fits = (2, 5, 6, 3) if masks else (2, 5, 6)
    wrong = [(1, *fits[1:]), (5, 6), (2, 5, 6, 1), *([(2, 5, 6), (2, 5, 4, 3)] if masks else [])]
    for shape in wrong:
        for package, array, to_theirs in ((unet_jax, jnp.array, None), (unet_torch, torch.from_numpy, 1)):
            logits, target = np.zeros((2, 5, 6, 3)), np.zeros(shape, int)
            if to_theirs:
                logits, target = (np.moveaxis(a, -1, 1) if a.ndim == 4 else a for a in (logits, target))
            loss = getattr(package.losses, name)
            with pytest.raises(InputError, match=r"(masks|labels) of (shape|size) \("):
                loss(array(logits), array(target))
            right = np.zeros(fits, int)
            right, weights = np.moveaxis(right, -1, 1) if masks and to_theirs else right, np.ones((1, 5, 6))
            with pytest.raises(InputError, match=r"labels of shape \(1, 5, 6\) do not fit logits of shape"):
                loss(array(logits), array(right), array(weights))


@pytest.mark.parametrize("name", NAMES)
def test_labels_that_are_not_integers_are_refused(name):
    """Masks of 0 and 1 / 255 would all be class 0."""
    labels = np.full((2, 5, 6), 1 / 255, np.float32)
    with pytest.raises(InputError, match="labels are float32; class numbers must be integers"):
        getattr(unet_jax.losses, name)(jnp.zeros((2, 5, 6, 3)), jnp.array(labels))
    with pytest.raises(InputError, match=r"labels are torch\.float32; class numbers must be integers"):
        getattr(unet_torch.losses, name)(torch.zeros(2, 3, 5, 6), torch.from_numpy(labels))


@pytest.mark.parametrize("name", OVERLAPPING)
def test_a_mask_of_255_gives_nan_unless_its_pixel_does_not_count(name):
    logits, masks, weights = np.zeros((1, 2, 2, 1)), np.ones((1, 2, 2, 1), int), np.ones((1, 2, 2))
    masks[0, 0, 0] = 255
    assert all(math.isnan(value) for value, _ in both(name, logits, masks, weights))
    weights[0, 0, 0] = 0
    for value, grad in both(name, logits, masks, weights):
        assert math.isfinite(value)
        assert np.isfinite(grad).all()


@pytest.mark.parametrize("name", [*NAMES, "distance_loss"])
def test_labels_that_are_too_small_on_one_axis_are_refused(name):
    for size in ((4, 6), (5, 5)):
        for given in (((2, *size), (2, 5, 6)), ((2, 5, 6), (2, *size))):
            labels, weights = np.zeros(given[0], int), np.ones(given[1])
            with pytest.raises(InputError, match=r"labels of size \(\d, \d\) are smaller than the logits, \(5, 6\)"):
                getattr(unet_jax.losses, name)(jnp.zeros((2, 5, 6, 1)), jnp.array(labels), jnp.array(weights))
            with pytest.raises(InputError, match=r"labels of size \(\d, \d\) are smaller than the logits, \(5, 6\)"):
                getattr(unet_torch.losses, name)(
                    torch.zeros(2, 1, 5, 6), torch.from_numpy(labels), torch.from_numpy(weights)
                )
