"""Losses in PyTorch. `unet_jax/losses.py` has the same, channels-last."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unet_torch.blocks import center_crop


def class_logits(logits: Tensor) -> Tensor:
    """Logits with one channel a class, (N, K ≥ 2, *spatial): a single channel z is the logit of class 1 against 0."""
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def crop_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """The centre of `labels` (N, *spatial) that the logits (N, K, *spatial) of a valid network speak of."""
    return center_crop(labels[:, None], like=logits)[:, 0]


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore: int | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over pixels of w · (−log softmax(logits)[label]) (the paper, equation 1).

    With `smoothing` ε, the target is (1 − ε) at the label and ε / K everywhere. The mean divides by the sum of the
    weights, so it does not change its scale with their number; it is 0 where no pixel counts.

    Args:
        logits: (N, K, *spatial) floating point; K = 1 means two classes, see `class_logits`.
        labels: (N, *spatial) integers in 0 … K − 1, at the image's or the logits' size; larger ones are cropped about
            their centre, as valid convolutions crop the image.
        weights: as labels, floating point ≥ 0; None: 1 everywhere.
        ignore: a label whose pixels do not count.

    Returns:
        A scalar in the dtype of the logits. A label out of range gives NaN rather than another class's loss.
    """
    logits = class_logits(logits)
    labels = crop_labels(labels, logits).long()
    weights = torch.ones_like(labels, dtype=logits.dtype) if weights is None else crop_labels(weights, logits)
    weights = weights.to(logits.dtype)
    counted = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
    known = (labels >= 0) & (labels < logits.shape[1])
    log_p = F.log_softmax(logits, dim=1)
    picked = log_p.gather(1, torch.where(known, labels, 0)[:, None])[:, 0]
    if smoothing:
        picked = (1 - smoothing) * picked + smoothing * log_p.mean(1)
    loss = torch.where(counted, torch.where(known, -picked, torch.nan), 0.0)
    weights = torch.where(counted, weights, 0.0)
    total = weights.sum()
    return torch.where(total > 0, (loss * weights).sum() / torch.where(total > 0, total, 1.0), 0.0)
