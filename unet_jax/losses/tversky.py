"""Tversky loss."""

from __future__ import annotations

import jax.numpy as jnp

from ..shapes import Labels, Logits, Scalar, Weights
from .targets import overlaps, pixel_targets, present_mean


def tversky_loss(
    logits: Logits,
    labels: Labels,
    weights: Weights | None = None,
    ignore: int | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> Scalar:
    """Tversky loss, the mean over images and classes, with p = softmax(logits) and t = 1 at the label, else 0:

        1 − TP / (TP + α FP + β FN),  TP = Σ w·p·t,  FP = Σ w·p·(1 − t),  FN = Σ w·(1 − p)·t

    Classes without a labelled pixel in an image are left out of that image's mean; otherwise tiles without an object
    would train the network to predict none. β > α penalises false negatives more than false positives.

    Args:
        logits, labels, weights, ignore: as for `cross_entropy`; weights multiply each pixel's counts.
        alpha: weight of false positives, ≥ 0.
        beta: weight of false negatives, ≥ 0.

    Returns:
        A scalar in [0, 1] of float32 (float64 for such logits); 0 where no pixel counts, NaN for a label out of range.

    Raises:
        InputError: labels or weights that do not fit the logits, or labels that are not integers.

    Example:
        >>> logits = jnp.array([[[0.0, 2.0], [2.0, 0.0]]])  # an image of two pixels, two classes
        >>> print(f"{tversky_loss(logits, jnp.array([[1, 1]])):.4f}")
        0.4118

    References:
        Salehi et al. 2017, arXiv 1706.05721, equation 4.
    """
    tp, fp, fn = overlaps(*pixel_targets(logits, labels, weights, ignore))
    size = tp + alpha * fp + beta * fn
    labelled = tp + fn
    return present_mean(1 - tp / jnp.where(labelled > 0, size, 1.0), labelled)
