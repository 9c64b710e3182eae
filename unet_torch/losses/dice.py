"""Soft Dice loss."""

from __future__ import annotations

from torch import Tensor

from unet_torch.losses.tversky import tversky_loss


def dice_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None, ignore: int | None = None) -> Tensor:
    """1 − 2 TP / (2 TP + FP + FN) with soft counts, mean over images and classes (Milletari et al. 2016, with the
    plain sums of Sudre et al. 2017 in the denominator).

    This is `tversky_loss` with α = β = 1/2; arguments and result as there.
    """
    return tversky_loss(logits, labels, weights, ignore, 0.5, 0.5)
