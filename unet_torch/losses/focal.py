"""Focal loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unet_torch.losses.targets import pixel_targets, weighted_mean


def focal_loss(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore: int | None = None, gamma: float = 2.0
) -> Tensor:
    """Mean over pixels of w · (1 − p)^γ · (−log p), with p the probability of the label (Lin et al. 2017, equation 4).

    `gamma` 0 is `cross_entropy`. Arguments and result as there.
    """
    logits, labels, weights, known = pixel_targets(logits, labels, weights, ignore)
    log_p = F.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    # 1 − p as −expm1(log p): where p is near 1, the difference would round to 0 and its power lose its gradient.
    return weighted_mean(-log_p * (-torch.expm1(log_p)).clamp(min=1e-12) ** gamma, weights, known)
