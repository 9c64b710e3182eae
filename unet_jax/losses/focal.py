"""Focal loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..shapes import Labels, Logits, Scalar, Weights
from .targets import pixel_targets, weighted_mean


def focal_loss(
    logits: Logits, labels: Labels, weights: Weights | None = None, ignore: int | None = None, gamma: float = 2.0
) -> Scalar:
    """Focal loss, the mean over pixels, with p the probability of the label:

        Σ w · (1 − p)^γ · (−log p) / Σ w

    Args:
        logits, labels, weights, ignore: as for `cross_entropy`.
        gamma: γ ≥ 0, reduces the weight of pixels that are already right; 0 gives `cross_entropy`.

    Returns:
        A scalar ≥ 0 of float32 (float64 for such logits); 0 where no pixel counts, NaN for a label out of range.

    Raises:
        InputError: labels or weights that do not fit the logits, or labels that are not integers.

    Example:
        >>> logits = jnp.array([[[0.0, 2.0], [2.0, 0.0]]])  # an image of two pixels, two classes
        >>> print(f"{focal_loss(logits, jnp.array([[1, 1]])):.4f}")
        0.8259

    References:
        Lin et al. 2017, arXiv 1708.02002, equation 4.
    """
    logits, labels, weights, known = pixel_targets(logits, labels, weights, ignore)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
    # 1 − p as −expm1(log p): where p is near 1, the difference would round to 0 and have no gradient.
    return weighted_mean(-log_p * jnp.maximum(-jnp.expm1(log_p), 1e-12) ** gamma, weights, known)
