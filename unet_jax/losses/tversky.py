"""Tversky loss."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from unet_jax.losses.targets import overlaps, pixel_targets, present_mean


def tversky_loss(
    logits: Array,
    labels: Array,
    weights: Array | None = None,
    ignore: int | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> Array:
    """1 − TP / (TP + α FP + β FN) with soft counts (Salehi et al. 2017, equation 4), mean over images and classes.

    A class that an image has no labelled pixel of is left out of that image's mean, so that a tile without an object
    does not teach to draw none anywhere. β > α makes missed pixels cost more than invented ones.

    Args:
        logits, labels, weights, ignore: as for `cross_entropy`; weights multiply each pixel's counts.
        alpha: weight of false positives, ≥ 0.
        beta: weight of false negatives, ≥ 0.

    Returns:
        A scalar in [0, 1] in the dtype of the logits; 0 where no pixel counts, NaN for a label out of range.
    """
    hit, extra, missed = overlaps(*pixel_targets(logits, labels, weights, ignore))
    size = hit + alpha * extra + beta * missed
    labelled = hit + missed
    return present_mean(1 - hit / jnp.where(labelled > 0, size, 1.0), labelled)
