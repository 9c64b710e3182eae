"""Value and gradient of each loss, compared with its formula in NumPy, with its twin, and with a case computed by
hand."""

import math
from functools import partial

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
        value, grad = run(*(None if a is None else jnp.array(a) for a in (logits, labels, weights)))
        ours = float(value), np.asarray(grad)
    z = torch.from_numpy(np.moveaxis(logits, -1, 1).copy()).requires_grad_(True)
    y = np.moveaxis(labels, -1, 1).copy() if labels.ndim == logits.ndim else labels  # masks, one for each class
    w = None if weights is None else torch.from_numpy(weights)
    value = getattr(unet_torch.losses, name)(z, torch.from_numpy(y), w, **options)
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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_loss_depends_on_the_ratios_of_the_weights_and_not_on_their_scale(name, scale):
    """Also where all weights together are below 1, or each of them is."""
    logits, labels, weights = case()
    wanted = both(name, logits, labels, weights, ignore=IGNORED)
    for (value, grad), (other, grad_of_other) in zip(
        both(name, logits, labels, scale * weights, ignore=IGNORED), wanted, strict=True
    ):
        assert value == pytest.approx(other, rel=1e-12)
        np.testing.assert_allclose(grad, grad_of_other, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_no_weights_are_weights_of_one_and_a_weight_of_zero_is_an_ignored_pixel(name):
    logits, labels, weights = case(ignored=False)
    for found, wanted in zip(
        both(name, logits, labels, None), both(name, logits, labels, np.ones_like(weights)), strict=True
    ):
        assert found[0] == wanted[0]
        np.testing.assert_array_equal(found[1], wanted[1])
    left_out = np.random.default_rng(1).random(labels.shape) < 0.3
    ignored = both(name, logits, np.where(left_out, IGNORED, labels), weights, ignore=IGNORED)
    zero = both(name, logits, labels, np.where(left_out, 0.0, weights))
    for found, wanted in zip(zero, ignored, strict=True):
        assert found[0] == pytest.approx(wanted[0], rel=1e-12)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-9, atol=1e-14)
        assert not found[1][left_out].any()
    for value, grad in both(name, logits, labels, np.zeros_like(weights)):
        assert value == 0
        assert not grad.any()


@pytest.mark.parametrize("name", NAMES)
def test_one_label_that_is_no_class_is_seen_unless_it_is_ignored(name):
    logits, labels, weights = case(ignored=False)
    for wrong in (-1, 3):
        labels[1, 2, 3] = wrong
        for value, _ in both(name, logits, labels, weights):
            assert math.isnan(value)
    for value, grad in both(name, logits, labels, weights, ignore=3):
        assert math.isfinite(value)
        assert np.isfinite(grad).all()


def distances(margin=0):
    """A predicted distance, and targets and weights with a margin; the negative targets do not count."""
    rng = np.random.default_rng(2)
    wide = (2, 5 + 2 * margin, 6 + 2 * margin)
    target = rng.uniform(0, 1, wide)
    target[rng.random(wide) < 0.2] = 0.0  # a pixel of the background: it counts
    target[rng.random(wide) < 0.2] = -1.0
    return rng.normal(size=(2, 5, 6, 1)), target, rng.uniform(0, 3, wide)


def squared_error(predicted, target, weights):
    counted = target >= 0
    w = np.where(counted, weights, 0.0)
    wanted = (w * (predicted[..., 0] - target) ** 2).sum() / w.sum()
    return wanted, (2 * w * (predicted[..., 0] - target) / w.sum())[..., None]


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("scale", [None, 1e-3, 1.0])
def test_the_distance_loss_is_its_formula_in_both(margin, scale):
    predicted, target, weights = distances(margin)
    weights = None if scale is None else scale * weights
    inside = (slice(None), *[slice(margin, n - margin) for n in target.shape[1:]])
    wanted, grad = squared_error(
        predicted, target[inside], np.ones(target[inside].shape) if weights is None else weights[inside]
    )
    for found in both("distance_loss", predicted, target, weights):
        assert found[0] == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(found[1], grad, rtol=1e-10, atol=1e-14)
    for found in both("distance_loss", predicted, np.full_like(target, -0.5), weights):
        assert found[0] == 0
        assert not found[1].any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("weight", [None, 0.25])
def test_a_distance_head_adds_the_loss_of_its_distance(weighted, weight):
    """Labels hold both: class + 256 · round(255 · distance), or −1 for a pixel that does not count."""
    rng = np.random.default_rng(3)
    classes, levels = rng.integers(0, 2, (2, 7, 8)), rng.integers(0, 256, (2, 7, 8))
    ignored = rng.random(classes.shape) < 0.2
    labels = np.where(ignored, -1, classes + 256 * levels).astype(np.int32)
    weights = rng.uniform(0, 3, classes.shape) if weighted else None
    inner = (slice(None), slice(1, -1), slice(1, -1))
    w = np.ones((2, 5, 6)) if weights is None else weights[inner]
    output = rng.normal(size=(2, 5, 6, 3))
    wanted = formula("cross_entropy", output[..., :2], classes[inner], w, ~ignored[inner])
    target = np.where(ignored, -1.0, levels / 255)[inner]
    wanted += (1.0 if weight is None else weight) * squared_error(output[..., 2:], target, w)[0]
    more = () if weight is None else (weight,)
    with jax.enable_x64(True):
        loss = unet_jax.losses.with_distance(partial(unet_jax.losses.cross_entropy, ignore=-1), *more)
        ours = jax.jit(loss)(jnp.array(output), jnp.array(labels), None if weights is None else jnp.array(weights))
    loss = unet_torch.losses.with_distance(partial(unet_torch.losses.cross_entropy, ignore=-1), *more)
    z = torch.from_numpy(np.moveaxis(output, -1, 1).copy())
    theirs = loss(z, torch.from_numpy(labels), None if weights is None else torch.from_numpy(weights))
    assert float(ours) == pytest.approx(wanted, rel=1e-12)
    assert theirs.item() == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("name", OVERLAPPING)
@pytest.mark.parametrize("scale", [0.0, 1e-3])
def test_overlapping_losses_do_not_depend_on_the_scale_of_the_weights(name, scale):
    rng = np.random.default_rng(4)
    logits, masks = rng.normal(size=(2, 5, 6, 3)), rng.integers(0, 2, (2, 5, 6, 3))
    weights = rng.uniform(0.5, 1, (2, 5, 6))
    wanted = both(name, logits, masks, weights) if scale else [(0.0, np.zeros_like(logits))] * 2
    for found, (value, grad) in zip(both(name, logits, masks, scale * weights), wanted, strict=True):
        assert found[0] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(found[1], grad, rtol=1e-9, atol=1e-14)
    for found in both(name, logits, np.zeros_like(masks), weights):
        assert math.isfinite(found[0])
        assert np.isfinite(found[1]).all()
