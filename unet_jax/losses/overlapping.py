"""Losses for overlapping classes: the sigmoid of each logit is the probability of its class."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Shaped

from unet_spec import InputError

from ..nn.spatial import center_crop
from ..shapes import Logits, Scalar, Weights
from .targets import at_least_float32, crop_labels, present_mean

Masks = Shaped[Array, "n *size k"]
"""0 or 1 for each pixel and class."""


def overlapping_cross_entropy(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Weighted binary cross entropy, the mean over pixels and classes:

        Σ w · (softplus(z) − z · t) / (K Σ w)

    Args:
        logits: (N, *spatial, K) floating point, one for each class.
        masks: (N, *spatial, K), 1 where the pixel has the class, else 0. Masks larger than the logits are cropped.
        weights: (N, *spatial), floating point ≥ 0, 0 where a pixel does not count; None: 1 everywhere.

    Returns:
        A scalar ≥ 0 of float32 (float64 for such logits); 0 where no pixel counts,
            NaN for a mask with other values than 0..1.

    Raises:
        InputError: masks or weights that do not fit the logits.

    Example:
        >>> loss = overlapping_cross_entropy(jnp.array([[[0.0, 2.0]]]), jnp.array([[[1, 1]]]))
        >>> print(f"{loss:.4f}")
        0.4100
    """
    logits, t, w = _targets(logits, masks, weights)
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
        A scalar in 0..1 of float32 (float64 for such logits); 0 where no class occurs,
            NaN for a mask with other values than 0..1.

    Raises:
        InputError: masks or weights that do not fit the logits.

    Example:
        >>> print(f"{overlapping_dice_loss(jnp.array([[[9.0, -9.0]]]), jnp.array([[[1, 0]]])):.3f}")
        0.000
    """
    logits, t, w = _targets(logits, masks, weights)
    p, w = jax.nn.sigmoid(logits), w[..., None]
    axes = tuple(range(1, logits.ndim - 1))
    hit, both, size = (w * p * t).sum(axes), (w * (p + t)).sum(axes), (w * t).sum(axes)
    return present_mean(1 - 2 * hit / jnp.where(both > 0, both, 1.0), size)


def _targets(
    logits: Logits, masks: Masks, weights: Weights | None
) -> tuple[Logits, Float[Array, "n *out k"], Float[Array, " n *out"]]:
    """Logits in float32 or float64; masks and weights, cropped to them and in their dtype."""
    logits, shape = at_least_float32(logits), masks.shape
    if len(shape) != logits.ndim or (shape[0], shape[-1]) != (logits.shape[0], logits.shape[-1]):
        raise InputError(
            f"masks of shape {shape} do not fit logits of shape {logits.shape}; masks have the axes (N, *spatial, K), "
            "one for each logit"
        )
    if any(n < m for n, m in zip(shape[1:-1], logits.shape[1:-1], strict=True)):
        raise InputError(f"masks of size {shape[1:-1]} are smaller than the logits, {logits.shape[1:-1]}")
    t = center_crop(masks, like=logits).astype(logits.dtype)
    w = jnp.ones(t.shape[:-1], logits.dtype) if weights is None else crop_labels(weights, logits).astype(logits.dtype)
    wrong = (w[..., None] > 0) & ((t < 0) | (t > 1))
    return logits, jnp.where(wrong, jnp.nan, t), w
