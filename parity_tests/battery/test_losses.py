"""Value and gradient of each loss, compared with its formula in NumPy, with its twin, and with a case computed by
hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import unet_jax.losses
import unet_torch.losses

NAMES = ["cross_entropy", "focal_loss", "dice_loss", "tversky_loss"]
IGNORED = 9


def formula(name, logits, labels, weights, counted):
    """The losses as the papers write them, in float64, pixel by pixel."""
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    target = np.eye(logits.shape[-1])[np.where(counted, labels, 0)]
    w = np.where(counted, weights, 0)
    picked = (p * target).sum(-1)
    if name == "cross_entropy":
        return (w * -np.log(picked)).sum() / w.sum()
    if name == "focal_loss":
        return (w * (1 - picked) ** 2 * -np.log(picked)).sum() / w.sum()
    alpha, beta = (0.5, 0.5) if name == "dice_loss" else (0.3, 0.7)
    terms = []
    for n in range(len(logits)):
        for k in range(logits.shape[-1]):
            hit, extra, missed = (
                (w[n] * a).sum()
                for a in (p[n, ..., k] * target[n, ..., k], p[n, ..., k] * (1 - target[n, ..., k]),
                          (1 - p[n, ..., k]) * target[n, ..., k])
            )  # fmt: skip
            if hit + missed > 0:
                terms.append(1 - hit / (hit + alpha * extra + beta * missed))
    return np.mean(terms)


def case(classes=3, ignored=True):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, 6, classes))
    labels = rng.integers(0, max(classes, 2), (2, 5, 6))
    labels[1][labels[1] == 1] = 0  # a class that is absent from the second image
    if ignored:
        labels[rng.random(labels.shape) < 0.2] = IGNORED
    return logits, labels, rng.uniform(0, 3, labels.shape)


def both(name, logits, labels, weights, **options):
    """Value and gradient of either twin, in float64, channels last."""
    with jax.enable_x64(True):
        loss = getattr(unet_jax.losses, name)
        run = jax.jit(jax.value_and_grad(lambda z, y, w: loss(z, y, w, **options)))
        value, grad = run(*map(jnp.array, (logits, labels, weights)))
        ours = float(value), np.asarray(grad)
    z = torch.from_numpy(np.moveaxis(logits, -1, 1).copy()).requires_grad_(True)
    value = getattr(unet_torch.losses, name)(z, torch.from_numpy(labels), torch.from_numpy(weights), **options)
    value.backward()
    return ours, (float(value.detach()), np.moveaxis(z.grad.numpy(), 1, -1))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ignored", [True, False])
def test_formula_and_twin(name, ignored):
    logits, labels, weights = case(ignored=ignored)
    ours, theirs = both(name, logits, labels, weights, ignore=IGNORED)
    wanted = formula(name, logits, labels, weights, labels != IGNORED)
    assert ours[0] == pytest.approx(wanted, rel=1e-12)
    assert theirs[0] == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-9, atol=1e-14)
    assert np.abs(ours[1][labels == IGNORED]).max(initial=0) == 0


@pytest.mark.parametrize("name", NAMES)
def test_one_channel_is_two_classes(name):
    logits, labels, weights = case(classes=1, ignored=False)
    pair = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    ours, theirs = both(name, logits, labels, weights)
    assert ours[0] == pytest.approx(formula(name, pair, labels, weights, labels >= 0), rel=1e-12)
    assert theirs[0] == pytest.approx(ours[0], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_larger_labels_are_cropped_about_their_centre(name):
    logits, labels, weights = case()
    around = [(0, 0), (2, 2), (1, 1)]
    padded = np.pad(labels, around, constant_values=2), np.pad(weights, around, constant_values=5.0)
    assert (
        both(name, logits, *padded, ignore=IGNORED)[0][0] == both(name, logits, labels, weights, ignore=IGNORED)[0][0]
    )


@pytest.mark.parametrize("name", NAMES)
def test_nothing_counts_and_unknown_labels(name):
    logits, labels, weights = case(ignored=False)
    for value, grad in both(name, logits, np.full_like(labels, IGNORED), weights, ignore=IGNORED):
        assert value == 0
        assert not np.any(grad)
    for value, _ in both(name, logits, np.full_like(labels, 7), weights):
        assert math.isnan(value)


@pytest.mark.parametrize("name", NAMES)
def test_sure_and_right_is_zero_sure_and_wrong_is_finite(name):
    labels = np.zeros((1, 2, 2), int)
    for scale, low, high in ((200.0, 0.0, 1e-9), (-200.0, 0.5, 1000.0)):
        logits = np.zeros((1, 2, 2, 2))
        logits[..., 0] = scale
        for value, grad in both(name, logits, labels, np.ones(labels.shape)):
            assert low <= value <= high
            assert np.isfinite(grad).all()


def test_by_hand():
    """Two pixels of class 1, probabilities 3/4 and 1/4: every number can be worked out on paper."""
    logits = np.log(np.array([[[[1.0, 3.0], [3.0, 1.0]]]]))
    labels, weights = np.ones((1, 1, 2), int), np.ones((1, 1, 2))
    wanted = {
        "cross_entropy": (math.log(4 / 3) + math.log(4)) / 2,
        "focal_loss": (math.log(4 / 3) / 16 + math.log(4) * 9 / 16) / 2,
        "dice_loss": 1 - 2 * 1 / (2 * 1 + 0 + 1),  # class 0 does not occur, class 1: TP 1, FN 1
        "tversky_loss": 1 - 1 / (1 + 0.7),
    }
    for name, value in wanted.items():
        for found, _ in both(name, logits, labels, weights):
            assert found == pytest.approx(value, rel=1e-12), name


def test_focal_without_gamma_is_cross_entropy():
    logits, labels, weights = case()
    focal = both("focal_loss", logits, labels, weights, ignore=IGNORED, gamma=0.0)
    entropy = both("cross_entropy", logits, labels, weights, ignore=IGNORED)
    for one, other in zip(focal, entropy, strict=True):
        assert one[0] == pytest.approx(other[0], rel=1e-12)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-9, atol=1e-14)


OVERLAPPING = ["overlapping_cross_entropy", "overlapping_dice_loss"]


@pytest.mark.parametrize("name", OVERLAPPING)
@pytest.mark.parametrize("weighted", [False, True])
def test_overlapping_losses_agree_with_their_formula_and_twin(name, weighted):
    rng = np.random.default_rng(0)
    logits, masks = rng.normal(size=(2, 5, 6, 3)), rng.integers(0, 2, (2, 7, 8, 3))
    masks[1, ..., 2] = 0  # a class that is absent from the second image
    weights = rng.uniform(0, 3, (2, 7, 8)) if weighted else np.ones((2, 7, 8))
    t, w = masks[:, 1:-1, 1:-1].astype(float), weights[:, 1:-1, 1:-1, None]
    p = 1 / (1 + np.exp(-logits))
    if name == OVERLAPPING[0]:
        wanted = (w * -(t * np.log(p) + (1 - t) * np.log(1 - p))).sum() / (3 * w.sum())
    else:
        scores = 1 - 2 * (w * p * t).sum((1, 2)) / (w * (p + t)).sum((1, 2))
        wanted = scores[(w * t).sum((1, 2)) > 0].mean()
    given = weights if weighted else None
    with jax.enable_x64(True):
        loss = getattr(unet_jax.losses, name)
        value, grad = jax.value_and_grad(
            lambda z: loss(z, jnp.array(masks), None if given is None else jnp.array(given))
        )(jnp.array(logits))
    z = torch.from_numpy(np.moveaxis(logits, -1, 1).copy()).requires_grad_(True)
    theirs = getattr(unet_torch.losses, name)(
        z, torch.from_numpy(np.moveaxis(masks, -1, 1).copy()), None if given is None else torch.from_numpy(given)
    )
    theirs.backward()
    assert float(value) == pytest.approx(wanted, rel=1e-12)
    assert theirs.item() == pytest.approx(wanted, rel=1e-12)
    assert z.grad is not None
    np.testing.assert_allclose(np.moveaxis(z.grad.numpy(), 1, -1), grad, rtol=1e-10, atol=1e-15)
