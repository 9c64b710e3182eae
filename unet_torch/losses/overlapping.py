"""Losses for overlapping classes: the sigmoid of each logit is the probability of its class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from unet_spec import InputError

from ..nn.spatial import center_crop
from ..shapes import Logits, Scalar, Weights
from .targets import at_least_float32, crop_labels, present_mean

Masks = Shaped[Tensor, "n k *size"]
"""0 or 1 for each pixel and class."""


def overlapping_cross_entropy(logits: Logits, masks: Masks, weights: Weights | None = None) -> Scalar:
    """Weighted binary cross entropy, the mean over pixels and classes:

        Σ w · (softplus(z) − z · t) / (K Σ w)

    Args:
        logits: (N, K, *spatial) floating point, one for each class.
        masks: (N, K, *spatial), 1 where the pixel has the class, else 0. Masks larger than the logits are cropped.
        weights: (N, *spatial), floating point ≥ 0, 0 where a pixel does not count; None: 1 everywhere.

    Returns:
        A scalar ≥ 0 of float32 (float64 for such logits); 0 where no pixel counts,
            NaN for a mask with other values than 0..1.

    Raises:
        InputError: masks or weights that do not fit the logits.

    Example:
        >>> loss = overlapping_cross_entropy(torch.tensor([[[0.0], [2.0]]]), torch.tensor([[[1], [1]]]))
        >>> print(f"{loss:.4f}")
        0.4100
    """
    logits, t, w = _targets(logits, masks, weights)
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
        A scalar in 0..1 of float32 (float64 for such logits); 0 where no class occurs,
            NaN for a mask with other values than 0..1.

    Raises:
        InputError: masks or weights that do not fit the logits.

    Example:
        >>> print(f"{overlapping_dice_loss(torch.tensor([[[9.0], [-9.0]]]), torch.tensor([[[1], [0]]])):.3f}")
        0.000
    """
    logits, t, w = _targets(logits, masks, weights)
    p, w = torch.sigmoid(logits), w[:, None]
    axes = tuple(range(2, logits.dim()))
    hit, both, size = (w * p * t).sum(axes), (w * (p + t)).sum(axes), (w * t).sum(axes)
    return present_mean(1 - 2 * hit / torch.where(both > 0, both, 1.0), size)


def _targets(
    logits: Logits, masks: Masks, weights: Weights | None
) -> tuple[Logits, Float[Tensor, "n k *out"], Float[Tensor, " n *out"]]:
    """Logits in float32 or float64; masks and weights, cropped to them and in their dtype."""
    logits, shape = at_least_float32(logits), tuple(masks.shape)
    if shape[:2] != tuple(logits.shape[:2]) or len(shape) != logits.dim():
        raise InputError(
            f"masks of shape {shape} do not fit logits of shape {tuple(logits.shape)}; masks have the axes "
            "(N, K, *spatial), one for each logit"
        )
    if any(n < m for n, m in zip(shape[2:], logits.shape[2:], strict=True)):
        raise InputError(f"masks of size {shape[2:]} are smaller than the logits, {tuple(logits.shape[2:])}")
    t = center_crop(masks, like=logits).to(logits.dtype)
    w = torch.ones_like(t[:, 0]) if weights is None else crop_labels(weights, logits).to(logits.dtype)
    wrong = (w[:, None] > 0) & ((t < 0) | (t > 1))
    return logits, torch.where(wrong, torch.nan, t), w
