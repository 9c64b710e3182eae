"""Soft Dice loss."""

from __future__ import annotations

from ..shapes import Labels, Logits, Scalar, Weights
from .tversky import tversky_loss


def dice_loss(logits: Logits, labels: Labels, weights: Weights | None = None, ignore: int | None = None) -> Scalar:
    """Soft Dice loss, the mean over images and classes, with TP, FP and FN as in `tversky_loss`:

        1 − 2 TP / (2 TP + FP + FN)

    Args:
        logits, labels, weights, ignore: as for `cross_entropy`; weights multiply each pixel's counts.

    Returns:
        A scalar in [0, 1] of float32 (float64 for such logits); 0 where no pixel counts, NaN for a label out of range.

    Raises:
        InputError: labels or weights that do not fit the logits, or labels that are not integers.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[[0.0, 2.0], [2.0, 0.0]]])  # an image of two pixels, two classes
        >>> print(f"{dice_loss(logits, torch.tensor([[1, 1]])):.4f}")
        0.3333

    References:
        Milletari et al. 2016, arXiv 1606.04797, with the plain sums of Sudre et al. 2017, arXiv 1707.03237, in the
        denominator.
    """
    return tversky_loss(logits, labels, weights, ignore, 0.5, 0.5)
