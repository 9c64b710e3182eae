"""Weighted cross entropy."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..shapes import Labels, Logits, Scalar, Weights
from .targets import pixel_targets, weighted_mean


def cross_entropy(
    logits: Logits, labels: Labels, weights: Weights | None = None, ignore: int | None = None, smoothing: float = 0.0
) -> Scalar:
    """Weighted cross entropy, the mean over pixels:

        Σ w · (−log p[label]) / Σ w,  p = softmax(logits)

    Dividing by the sum of the weights makes the scale independent of the weights.

    Args:
        logits: (N, *spatial, K) floating point; K = 1 means two classes, see `class_logits`.
        labels: (N, *spatial) integers in 0 … K − 1. Labels larger than the logits are cropped about their centre, as
            valid convolutions crop the image.
        weights: as labels, floating point ≥ 0; None: 1 everywhere.
        ignore: a label whose pixels do not count.
        smoothing: ε in [0, 1): the target is 1 − ε at the label, plus ε / K at every class.

    Returns:
        A scalar ≥ 0 of float32 (float64 for such logits); 0 where no pixel counts. A label out of range gives NaN.

    Raises:
        InputError: labels or weights that do not fit the logits, or labels that are not integers.

    Example:
        >>> logits = jnp.array([[[0.0, 2.0], [2.0, 0.0]]])  # an image of two pixels, two classes
        >>> labels = jnp.array([[1, 1]])
        >>> print(f"{cross_entropy(logits, labels):.4f}")
        1.1269
        >>> print(f"{cross_entropy(logits, labels, ignore=1):.4f}")
        0.0000

    References:
        Ronneberger et al. 2015, arXiv 1505.04597, equation 1; smoothing: Szegedy et al. 2016, arXiv 1512.00567,
        section 7.
    """
    logits, labels, weights, known = pixel_targets(logits, labels, weights, ignore)
    log_p = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_p, labels[..., None], axis=-1)[..., 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_p.mean(-1)
    return weighted_mean(-picked, weights, known)
