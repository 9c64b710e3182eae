"""The loss of a distance head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from unet_data.labels.distances import CLASSES, LEVELS

from ..shapes import Labels, Logits, Scalar, Weights
from .targets import at_least_float32, crop_labels

ClassLoss = Callable[[Logits, Labels, "Weights | None"], Scalar]


def distance_loss(
    predicted: Float[Tensor, "n 1 *out"], target: Float[Tensor, " n *spatial"], weights: Weights | None = None
) -> Scalar:
    """Squared error of a predicted distance, as the weighted mean over the counted pixels:

        Σ w · (d − t)² / Σ w

    Args:
        predicted: (N, 1, *spatial), d.
        target: (N, *spatial), t in 0..1, see `unet_data.border_distances`; negative where a pixel does not count. A
            target larger than `predicted` is cropped about its centre.
        weights: as `target`, floating point ≥ 0; None: 1 everywhere.

    Returns:
        A scalar ≥ 0 of float32 (float64 for such a `predicted`); 0 where no pixel counts.

    Raises:
        InputError: target or weights that do not fit `predicted`.

    Example:
        >>> predicted, target = torch.tensor([[[0.5, 0.5, 9.0]]]), torch.tensor([[1.0, 0.5, -1.0]])
        >>> print(f"{distance_loss(predicted, target):.4f}")
        0.1250
    """
    predicted = at_least_float32(predicted)
    t = crop_labels(target, predicted).to(predicted.dtype)
    w = torch.ones_like(t) if weights is None else crop_labels(weights, predicted).to(predicted.dtype)
    w = torch.where(t < 0, 0.0, w)
    total = w.sum()
    return (w * (predicted[:, 0] - t) ** 2).sum() / torch.where(total > 0, total, 1.0)


def with_distance(loss: ClassLoss, weight: float = 1.0) -> ClassLoss:
    """The loss of a network with a distance head: `loss` of its logits plus `weight` times the `distance_loss` of its
    distance.

    Args:
        loss: function of logits (N, K, *spatial), labels (N, *spatial) and weights or None.
        weight: weight of the distance loss.

    Returns:
        A function of the output (N, K + 1, *spatial), labels of `unet_data.pack_distances` (N, *spatial) and weights or
        None.

    Example:
        >>> from unet_data import pack_distances
        >>> import numpy as np
        >>> labels = pack_distances(np.array([[1, 0]]), np.array([[1.0, 0.0]], np.float32))
        >>> output = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [1.0, 0.5]]])  # two classes and the distance of two pixels
        >>> print(f"{with_distance(lambda z, y, w: z.sum(), 2.0)(output, torch.tensor(labels), None):.4f}")
        0.2500
    """

    def of(output: Logits, labels: Labels, weights: Weights | None) -> Scalar:
        target = torch.where(labels < 0, -1.0, (labels // CLASSES).to(output.dtype) / LEVELS)
        classes = torch.where(labels < 0, labels, labels % CLASSES)
        return loss(output[:, :-1], classes, weights) + weight * distance_loss(output[:, -1:], target, weights)

    return of
