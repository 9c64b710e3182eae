"""Targets shared by all losses: class, weight and validity of each pixel."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn import functional as F

from unet_spec import InputError

from ..nn.spatial import center_crop
from ..shapes import Labels, Logits, Scalar, Weights

Values = Float[Tensor, " n *out"]
Mask = Bool[Tensor, " n *out"]
Classes = Shaped[Tensor, " n *out"]
Counts = Float[Tensor, "n k"]
"""One number for each image and class."""


def class_logits(logits: Logits) -> Float[Tensor, "n classes *out"]:
    """Logits with one channel per class, K ≥ 2. A single channel z becomes the two logits 0 and z.

    Example:
        >>> class_logits(torch.tensor([[[3.0]]])).tolist()
        [[[0.0], [3.0]]]
    """
    return torch.cat([torch.zeros_like(logits), logits], dim=1) if logits.shape[1] == 1 else logits


def at_least_float32(x: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`x` in float32, or unchanged in float64: sums over the pixels of an image are infinite in float16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def crop_labels(labels: Shaped[Tensor, " n *spatial"], logits: Logits) -> Classes:
    """The centre of `labels`, cropped to the size of the logits. Raises InputError if labels have other axes, are of
    another number of images, or are smaller.

    Example:
        >>> crop_labels(torch.arange(5)[None], torch.zeros(1, 2, 3)).tolist()
        [[1, 2, 3]]
    """
    if labels.dim() != logits.dim() - 1 or labels.shape[0] != logits.shape[0]:
        raise InputError(
            f"labels of shape {tuple(labels.shape)} do not fit logits of shape {tuple(logits.shape)}; labels and "
            "weights have the axes (N, *spatial), without channels"
        )
    if any(n < m for n, m in zip(labels.shape[1:], logits.shape[2:], strict=True)):
        raise InputError(
            f"labels of size {tuple(labels.shape[1:])} are smaller than the logits, {tuple(logits.shape[2:])}"
        )
    return center_crop(labels[:, None], like=logits)[:, 0]


def pixel_targets(
    logits: Logits, labels: Labels, weights: Weights | None, ignore: int | None
) -> tuple[Float[Tensor, "n classes *out"], Classes, Values, Mask]:
    """Logits (N, K ≥ 2, *out), and labels, weights (0 where ignored) and known (bool), all (N, *out).

    Pixels that count but whose label is not a class are not `known`; their label is set to 0. Raises InputError if the
    labels do not fit the logits, or are not integers.
    """
    logits = at_least_float32(class_logits(logits))
    if labels.is_floating_point():
        raise InputError(f"labels are {labels.dtype}; class numbers must be integers, such as torch.int64")
    labels = crop_labels(labels, logits).long()
    weights = torch.ones_like(labels, dtype=logits.dtype) if weights is None else crop_labels(weights, logits)
    counted = labels != ignore if ignore is not None else torch.ones_like(labels, dtype=torch.bool)
    known = ~counted | ((labels >= 0) & (labels < logits.shape[1]))
    inside = counted & known
    return logits, torch.where(inside, labels, 0), torch.where(counted, weights.to(logits.dtype), 0.0), known


def weighted_mean(loss: Values, weights: Values, known: Mask) -> Scalar:
    """Σ w·loss / Σ w; 0 if no pixel counts, NaN if the label of a counted pixel is not a class."""
    loss = torch.where(known, torch.where(weights > 0, loss, 0.0), torch.nan)
    total = weights.sum()
    return torch.where(total > 0, (loss * weights).sum() / torch.where(total > 0, total, 1.0), 0.0)


def overlaps(logits: Logits, labels: Classes, weights: Values, known: Mask) -> tuple[Counts, Counts, Counts]:
    """Per image and class: Σ w·p·t, Σ w·p·(1 − t) and Σ w·(1 − p)·t, with p = softmax and t the target.

    These are the soft counts of true positives, false positives and false negatives.
    """
    p = F.softmax(logits, dim=1)
    t = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    w = torch.where(known, weights, torch.nan)[:, None]
    axes = tuple(range(2, logits.dim()))
    return (w * p * t).sum(axes), (w * p * (1 - t)).sum(axes), (w * (1 - p) * t).sum(axes)


def present_mean(score: Counts, size: Counts) -> Scalar:
    """The mean of `score` over the classes present in each image (`size` > 0); 0 if none is present."""
    present = torch.where(torch.isnan(size), True, size > 0)
    count = present.sum()
    return torch.where(count > 0, torch.where(present, score, 0.0).sum() / count.clamp(min=1), 0.0)
