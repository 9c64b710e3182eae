"""Losses for overlapping classes: the sigmoid of each logit is the probability of its class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from ..nn.spatial import center_crop
from ..shapes import Logits, Scalar, Weights
from .targets import crop_labels, present_mean

Masks = Shaped[Tensor, "n k *size"]
"""0 or 1 for each pixel and class."""


def overlapping_cross_entropy(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Weighted binary cross entropy, the mean over pixels and classes:

        Σ w · (softplus(z) − z · t) / (K Σ w)

    Args:
        logits: (N, K, *spatial) floating point, one for each class.
        masks: (N, K, *spatial), 1 where the pixel has the class. Masks larger than the logits are cropped.
        weights: (N, *spatial), floating point ≥ 0, 0 where a pixel does not count; None: 1 everywhere.

    Returns:
        A scalar ≥ 0 in the dtype of the logits; 0 where no pixel counts.

    Raises:
        InputError: weights smaller than the logits.

    Example:
        >>> loss = overlapping_cross_entropy(torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[1], [1]]]))
        >>> print(f"{loss:.4f}")
        0.4100
    """
    t, w = _targets(logits, masks, weights)
    loss = (F.softplus(logits) - logits * t).mean(1)
    total = w.sum()
    return torch.where(total > 0, (loss * w).sum() / torch.where(total > 0, total, 1.0), 0.0)


def overlapping_dice_loss(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Dice loss, the mean over images and the classes present in each: 1 − 2 Σ w·p·t / Σ w·(p + t), p = sigmoid.

    Args:
        logits: (N, K, *spatial) floating point, one for each class.
        masks: (N, K, *spatial), as in `overlapping_cross_entropy`.
        weights: (N, *spatial), or None.

    Returns:
        A scalar in 0..1; 0 where no class occurs.

    Raises:
        InputError: weights smaller than the logits.

    Example:
        >>> print(f"{overlapping_dice_loss(torch.tensor([[[9.0], [-9.0]]]), torch.tensor([[[1], [0]]])):.3f}")
        0.000
    """
    t, w = _targets(logits, masks, weights)
    p, w = torch.sigmoid(logits), w[:, None]
    axes = tuple(range(2, logits.dim()))
    hit, both, size = (w * p * t).sum(axes), (w * (p + t)).sum(axes), (w * t).sum(axes)
    return present_mean(1 - 2 * hit / torch.where(both > 0, both, 1.0), size)


def _targets(
    logits: Logits, masks: Masks, weights: Weights | None
) -> tuple[Float[Tensor, "n k *out"], Float[Tensor, " n *out"]]:
    """Masks and weights, cropped to the logits and in their dtype."""
    t = center_crop(masks, like=logits).to(logits.dtype)
    w = torch.ones_like(t[:, 0]) if weights is None else crop_labels(weights, logits).to(logits.dtype)
    return t, w
