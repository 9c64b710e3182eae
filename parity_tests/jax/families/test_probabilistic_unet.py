"""The loss of the probabilistic U-Net, and labels that its posterior must ignore."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from unet_jax import losses as jax_losses
from unet_jax.families import probabilistic_unet
from unet_jax.families.probabilistic_unet import gaussian_divergence
from unet_spec.ops import ClassNumbers
from unet_torch import losses as torch_losses
from unet_torch.families import probabilistic_unet as torch_probabilistic_unet
from unet_torch.families.probabilistic_unet import gaussian_divergence as torch_divergence

from ...fixtures.family_cases import FAMILIES
from ...fixtures.family_twins import image, to_torch, twins


def labelled(config):
    x = image(config)
    return x, np.random.default_rng(8).integers(0, config.classes, x.shape[:-1])


def test_divergence_of_gaussians():
    """Compared with PyTorch's function."""
    rng = np.random.default_rng(9)
    p, q = (tuple(rng.normal(size=(2, 4, 3))) for _ in range(2))
    normal = [torch.distributions.Normal(torch.from_numpy(m), torch.from_numpy(s).exp()) for m, s in (p, q)]
    wanted = torch.distributions.kl_divergence(*normal).sum(-1).numpy()
    np.testing.assert_allclose(gaussian_divergence(p, q), wanted, rtol=1e-12)
    np.testing.assert_allclose(torch_divergence(*(tuple(map(torch.from_numpy, g)) for g in (p, q))), wanted, rtol=1e-12)


def test_elbo():
    """Cross entropy of a posterior sample, plus beta per pixel times the divergence; beta has an effect."""
    config = FAMILIES["probabilistic-unet"].replace(beta=7.0)
    flax, _, _ = twins(config)
    x, y = (jnp.asarray(a) for a in labelled(config))
    noise = jax.random.normal(nnx.Rngs(dropout=3).dropout(), (len(x), config.latent), x.dtype)
    logits, posterior, prior = flax.reconstruct(x, y, noise)
    divergence = gaussian_divergence(posterior, prior).mean()
    assert divergence > 0.1
    wanted = jax_losses.cross_entropy(logits, y) + 7.0 * divergence / (x.shape[1] * x.shape[2])
    found = flax.loss(jax_losses.cross_entropy, x, y, None, nnx.Rngs(dropout=3))
    assert abs(float(found - wanted)) < 1e-12


def posterior_means(labels):
    """Output of the posterior for an image with these labels: (N, latent) in the reference and in both twins."""
    config = FAMILIES["probabilistic-unet"]
    flax, pytorch, tensors = twins(config)
    x = image(config)
    given = {"segmentation": labels[..., None].astype(np.float64)}
    head = config.graph.activations(tensors, x, keep=("posterior.head",), inputs=given)["posterior.head"]
    noise = np.zeros((len(x), config.latent))
    _, ours, _ = flax.reconstruct(jnp.asarray(x), jnp.asarray(labels), jnp.asarray(noise))
    _, theirs, _ = pytorch.reconstruct(to_torch(x), torch.from_numpy(labels), torch.from_numpy(noise))
    return [head.reshape(len(x), -1)[:, : config.latent], np.asarray(ours[0]), theirs[0].detach().numpy()]


def check_that_ignored_labels_are_no_class():
    """For the posterior, a label that is not a class belongs to no class, whatever its number, in all three."""
    _, y = labelled(FAMILIES["probabilistic-unet"])
    ignored = np.random.default_rng(2).random(y.shape) < 0.3
    wanted, *others = posterior_means(np.where(ignored, 250, y))
    found = [m for number in (255, -1, 2) for m in posterior_means(np.where(ignored, number, y))]
    assert max(np.abs(m - wanted).max() for m in (*others, *found)) < 1e-12 * np.abs(wanted).max()
    for number in (0, 1):
        assert np.abs(posterior_means(np.where(ignored, number, y))[0] - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_ignored_labels_are_no_class_to_the_posterior():
    check_that_ignored_labels_are_no_class()


WRONG = {
    "their number": lambda labels, classes: labels,
    "class 0": lambda labels, classes: labels * ((labels >= 0) & (labels < classes)),
}
"""Ways in which an ignored label could be used by mistake."""


@pytest.mark.slow
@pytest.mark.parametrize("owner", [ClassNumbers, probabilistic_unet, torch_probabilistic_unet])
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_bugs_planted_in_how_they_enter_are_caught(owner, wrong, monkeypatch):
    if owner is ClassNumbers:
        monkeypatch.setattr(owner, "compute", lambda op, params, labels, training=False: wrong(labels, op.classes))
    else:
        monkeypatch.setattr(owner, "class_numbers", wrong)
    with pytest.raises(AssertionError):
        check_that_ignored_labels_are_no_class()


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_the_elbo_does_not_depend_on_the_number_of_ignored_labels(framework):
    config = FAMILIES["probabilistic-unet"]
    flax, pytorch, _ = twins(config)
    x, y = labelled(config)
    ignored, values = np.random.default_rng(2).random(y.shape) < 0.3, []
    for number in (250, 255):
        labels = np.where(ignored, number, y)
        if framework == "jax":
            of = lambda z, y, w: jax_losses.cross_entropy(z, y, w, number)  # noqa: B023, E731
            values.append(float(flax.loss(of, jnp.asarray(x), jnp.asarray(labels), None, nnx.Rngs(dropout=3))))
        else:
            of = lambda z, y, w: torch_losses.cross_entropy(z, y, w, number)  # noqa: B023, E731
            torch.manual_seed(0)
            values.append(pytorch.loss(of, to_torch(x), torch.from_numpy(labels)).item())
    assert values[0] == values[1]
    assert np.isfinite(values[0])
