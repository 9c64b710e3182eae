"""Losses in JAX. `unet_torch/losses.py` has the same, channels-first."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from unet_jax.blocks import center_crop


def class_logits(logits: Array) -> Array:
    """Logits with one channel a class, (..., K ≥ 2): a single channel z is the logit of class 1 against class 0."""
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def crop_labels(labels: Array, logits: Array) -> Array:
    """The centre of `labels` (N, *spatial) that the logits (N, *spatial, K) of a valid network speak of."""
    return center_crop(labels[..., None], like=logits)[..., 0]


def cross_entropy(
    logits: Array, labels: Array, weights: Array | None = None, ignore: int | None = None, smoothing: float = 0.0
) -> Array:
    """Mean over pixels of w · (−log softmax(logits)[label]) (the paper, equation 1).

    With `smoothing` ε, the target is (1 − ε) at the label and ε / K everywhere. The mean divides by the sum of the
    weights, so it does not change its scale with their number; it is 0 where no pixel counts.

    Args:
        logits: (N, *spatial, K) floating point; K = 1 means two classes, see `class_logits`.
        labels: (N, *spatial) integers in 0 … K − 1, at the image's or the logits' size; larger ones are cropped about
            their centre, as valid convolutions crop the image.
        weights: as labels, floating point ≥ 0; None: 1 everywhere.
        ignore: a label whose pixels do not count.

    Returns:
        A scalar in the dtype of the logits. A label out of range gives NaN rather than another class's loss.
    """
    logits = class_logits(logits)
    labels = crop_labels(labels, logits)
    weights = jnp.ones(labels.shape, logits.dtype) if weights is None else crop_labels(weights, logits)
    weights = weights.astype(logits.dtype)
    counted = labels != ignore if ignore is not None else jnp.ones(labels.shape, bool)
    known = (labels >= 0) & (labels < logits.shape[-1])
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, jnp.where(known, labels, 0)[..., None], axis=-1)[..., 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_p.mean(-1)
    loss = jnp.where(counted, jnp.where(known, -picked, jnp.nan), 0.0)
    weights = jnp.where(counted, weights, 0.0)
    total = weights.sum()
    return jnp.where(total > 0, (loss * weights).sum() / jnp.where(total > 0, total, 1.0), 0.0)
