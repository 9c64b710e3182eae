"""What the other architectures minimise, and that it can be minimised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import unet_jax
from parity_tests.family_cases import FAMILIES
from parity_tests.test_families_parity import image, to_torch, twins
from unet_jax import losses as jax_losses
from unet_jax.families import probabilistic_unet
from unet_jax.families.layers import DropBlock
from unet_jax.families.probabilistic_unet import gaussian_divergence
from unet_jax.objective import make_objective
from unet_jax.settings import TrainSettings
from unet_spec.ops import ClassNumbers
from unet_torch import losses as torch_losses
from unet_torch.families import probabilistic_unet as torch_probabilistic_unet
from unet_torch.families.layers import DropBlock as TorchDropBlock
from unet_torch.families.probabilistic_unet import gaussian_divergence as torch_divergence


def labelled(config):
    x = image(config)
    return x, np.random.default_rng(8).integers(0, config.classes, x.shape[:-1])


@pytest.mark.parametrize("name", ["unet++-deep", "m-net", "attention-unet"])
def test_the_loss_is_one_number_in_both(name):
    config = FAMILIES[name]
    flax, pytorch, _ = twins(config)
    x, y = labelled(config)
    found = flax.loss(jax_losses.cross_entropy, jnp.asarray(x), jnp.asarray(y), None, nnx.Rngs(dropout=0))
    other = pytorch.loss(torch_losses.cross_entropy, to_torch(x), torch.from_numpy(y))
    assert abs(float(found) - other.item()) < 1e-12
    if name == "attention-unet":
        parts = [flax(jnp.asarray(x))]
    else:
        parts = [*flax.outputs(jnp.asarray(x)), *([flax(jnp.asarray(x))] if name == "m-net" else [])]
    assert len(parts) == {"unet++-deep": 3, "m-net": 4, "attention-unet": 1}[name]
    mean = np.mean([float(jax_losses.cross_entropy(logits, jnp.asarray(y))) for logits in parts])
    assert abs(float(found) - mean) < 1e-12


def test_divergence_of_gaussians():
    """Against PyTorch's own."""
    rng = np.random.default_rng(9)
    p, q = (tuple(rng.normal(size=(2, 4, 3))) for _ in range(2))
    normal = [torch.distributions.Normal(torch.from_numpy(m), torch.from_numpy(s).exp()) for m, s in (p, q)]
    wanted = torch.distributions.kl_divergence(*normal).sum(-1).numpy()
    np.testing.assert_allclose(gaussian_divergence(p, q), wanted, rtol=1e-12)
    np.testing.assert_allclose(torch_divergence(*(tuple(map(torch.from_numpy, g)) for g in (p, q))), wanted, rtol=1e-12)


def test_elbo():
    """Cross entropy of a posterior sample, plus beta a pixel times the divergence; beta counts."""
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
    """What the posterior makes of an image with these labels: (N, latent) in the reference and in both twins."""
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
    """To the posterior, a label that is no class is neither of the classes, and it does not matter which number it is;
    the same in all three."""
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
"""How an ignored label might enter by mistake."""


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


@pytest.mark.parametrize("name", ["unet++-deep", "probabilistic-unet", "sa-unet-drop", "fcn-8s"])
def test_the_trainers_objective_falls(name):
    """Ten steps of plain gradient descent through the objective that `unet train` differentiates."""
    config = FAMILIES[name]
    model = unet_jax.create(config, 0)
    x, y = labelled(config)
    x, y = jnp.asarray(x, jnp.float32), jnp.asarray(x.mean(-1) > 1, jnp.int32)
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    gradient = jax.jit(jax.value_and_grad(make_objective(graphdef, TrainSettings()), has_aux=True))
    before, values = stats, []
    for _ in range(10):
        (value, stats), grads = gradient(params, stats, x, y, None, jax.random.key(0))
        params = jax.tree.map(lambda p, g: p - 0.05 * g, params, grads)
        values.append(float(value))
    assert values[-1] < values[0]
    if name == "fcn-8s":  # the fixed interpolation is where the running statistics are, and stays
        same = jax.tree.map(lambda a, b: bool((a == b).all()), before, stats)
        assert jax.tree.leaves(same) == [True] * 3


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_drop_block(framework):
    """Squares of the block's size, about 1 − keep of the pixels, and a mask whose sum is kept."""
    keep, block, shape = 0.8, 5, (4, 60, 50, 8)
    if framework == "jax":
        layer = DropBlock(keep, block)
        layer.train()
        out = np.asarray(layer(jnp.ones(shape), nnx.Rngs(dropout=0)))
        layer.eval()
        assert (np.asarray(layer(jnp.ones(shape))) == 1).all()
    else:
        torch.manual_seed(0)
        layer = TorchDropBlock(keep, block)
        out = np.moveaxis(layer(torch.ones(4, 8, 60, 50)).numpy(), 1, -1)
        assert (layer.eval()(torch.ones(4, 8, 60, 50)) == 1).all()
    dropped = out == 0
    assert 0.15 < dropped.mean() < 0.21  # squares overlap, so a little less than 1 − keep
    assert abs(out.mean() - 1) < 1e-5
    for n, c in ((0, 0), (3, 7)):  # every zero lies in a square of zeros
        zero = dropped[n, :, :, c]
        windows = np.lib.stride_tricks.sliding_window_view(zero, (block, block)).all((2, 3))
        covered = np.zeros_like(zero)
        for i, j in np.argwhere(windows):
            covered[i : i + block, j : j + block] = True
        assert (covered == zero).all()
    assert (dropped[0, :, :, 0] != dropped[0, :, :, 1]).any()  # each channel by itself
