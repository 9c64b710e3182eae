"""Focal loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from unet_jax.losses.targets import pixel_targets, weighted_mean


def focal_loss(
    logits: Array, labels: Array, weights: Array | None = None, ignore: int | None = None, gamma: float = 2.0
) -> Array:
    """Mean over pixels of w · (1 − p)^γ · (−log p), with p the probability of the label (Lin et al. 2017, equation 4).

    `gamma` 0 is `cross_entropy`. Arguments and result as there.
    """
    logits, labels, weights, known = pixel_targets(logits, labels, weights, ignore)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], axis=-1)[..., 0]
    # 1 − p as −expm1(log p): where p is near 1, the difference would round to 0 and its power lose its gradient.
    return weighted_mean(-log_p * jnp.maximum(-jnp.expm1(log_p), 1e-12) ** gamma, weights, known)
