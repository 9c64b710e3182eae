"""Losses for overlapping classes: the sigmoid of each logit is the probability of its class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Shaped

from ..nn.spatial import center_crop
from ..shapes import Logits, Scalar, Weights
from .targets import crop_labels, present_mean

Masks = Shaped[Array, "n *size k"]
"""0 or 1 for each pixel and class."""


def overlapping_cross_entropy(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Weighted binary cross entropy, the mean over pixels and classes:

        Σ w · (softplus(z) − z · t) / (K Σ w)

    Args:
        logits: (N, *spatial, K) floating point, one for each class.
        masks: (N, *spatial, K), 1 where the pixel has the class. Masks larger than the logits are cropped.
        weights: (N, *spatial), floating point ≥ 0, 0 where a pixel does not count; None: 1 everywhere.

    Returns:
        A scalar ≥ 0 in the dtype of the logits; 0 where no pixel counts.

    Raises:
        InputError: weights smaller than the logits.

    Example:
        >>> loss = overlapping_cross_entropy(jnp.array([[[0.0, 2.0]]]), jnp.array([[[1, 1]]]))
        >>> print(f"{loss:.4f}")
        0.4100
    """
    t, w = _targets(logits, masks, weights)
    loss = (jax.nn.softplus(logits) - logits * t).mean(-1)
    total = w.sum()
    return jnp.where(total > 0, (loss * w).sum() / jnp.where(total > 0, total, 1.0), 0.0)


def overlapping_dice_loss(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Dice loss, the mean over images and the classes present in each: 1 − 2 Σ w·p·t / Σ w·(p + t), p = sigmoid.

    Args:
        logits: (N, *spatial, K) floating point, one for each class.
        masks: (N, *spatial, K), as in `overlapping_cross_entropy`.
        weights: (N, *spatial), or None.

    Returns:
        A scalar in 0..1; 0 where no class occurs.

    Raises:
        InputError: weights smaller than the logits.

    Example:
        >>> print(f"{overlapping_dice_loss(jnp.array([[[9.0, -9.0]]]), jnp.array([[[1, 0]]])):.3f}")
        0.000
    """
    t, w = _targets(logits, masks, weights)
    p, w = jax.nn.sigmoid(logits), w[..., None]
    axes = tuple(range(1, logits.ndim - 1))
    hit, both, size = (w * p * t).sum(axes), (w * (p + t)).sum(axes), (w * t).sum(axes)
    return present_mean(1 - 2 * hit / jnp.where(both > 0, both, 1.0), size)


def _targets(
    logits: Logits, masks: Masks, weights: Weights | None
) -> tuple[Float[Array, "n *out k"], Float[Array, " n *out"]]:
    """Masks and weights, cropped to the logits and in their dtype."""
    t = center_crop(masks, like=logits).astype(logits.dtype)
    w = jnp.ones(t.shape[:-1], logits.dtype) if weights is None else crop_labels(weights, logits).astype(logits.dtype)
    return t, w
