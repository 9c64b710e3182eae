"""Weighted cross entropy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from unet_jax.losses.targets import pixel_targets, weighted_mean


def cross_entropy(
    logits: Array, labels: Array, weights: Array | None = None, ignore: int | None = None, smoothing: float = 0.0
) -> Array:
    """Mean over pixels of w · (−log softmax(logits)[label]) (the paper, equation 1).

    With `smoothing` ε, the target is (1 − ε) at the label and ε / K everywhere (Szegedy et al. 2016, section 7). The
    mean divides by the sum of the weights, so it does not change its scale with their number; it is 0 where no pixel
    counts.

    Args:
        logits: (N, *spatial, K) floating point; K = 1 means two classes, see `class_logits`.
        labels: (N, *spatial) integers in 0 … K − 1, at the image's or the logits' size; larger ones are cropped about
            their centre, as valid convolutions crop the image.
        weights: as labels, floating point ≥ 0; None: 1 everywhere.
        ignore: a label whose pixels do not count.

    Returns:
        A scalar in the dtype of the logits. A label out of range gives NaN rather than another class's loss.
    """
    logits, labels, weights, known = pixel_targets(logits, labels, weights, ignore)
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_p.mean(-1)
    return weighted_mean(-picked, weights, known)
