"""Targets shared by all losses: class, weight and validity of each pixel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Shaped

from unet_spec import InputError

from ..nn.spatial import center_crop
from ..shapes import Labels, Logits, Scalar, Weights

Values = Float[Array, " n *out"]
Mask = Bool[Array, " n *out"]
Classes = Shaped[Array, " n *out"]
Counts = Float[Array, "n k"]
"""One number for each image and class."""


def class_logits(logits: Float[Array, "*shape k"]) -> Float[Array, "*shape classes"]:
    """Logits with one channel per class, K ≥ 2. A single channel z becomes the two logits 0 and z.

    Example:
        >>> class_logits(jnp.array([[[3.0]]])).tolist()
        [[[0.0, 3.0]]]
    """
    return jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1) if logits.shape[-1] == 1 else logits


def at_least_float32(x: Shaped[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in float32, or unchanged in float64: sums over the pixels of an image are infinite in float16."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def crop_labels(labels: Shaped[Array, " n *spatial"], logits: Logits) -> Classes:
    """The centre of `labels`, cropped to the size of the logits. Raises InputError if labels have other axes, are of
    another number of images, or are smaller.

    Example:
        >>> crop_labels(jnp.arange(5)[None], jnp.zeros((1, 3, 2))).tolist()
        [[1, 2, 3]]
    """
    if labels.ndim != logits.ndim - 1 or labels.shape[0] != logits.shape[0]:
        raise InputError(
            f"labels of shape {labels.shape} do not fit logits of shape {logits.shape}; labels and weights have the "
            "axes (N, *spatial), without channels"
        )
    if any(n < m for n, m in zip(labels.shape[1:], logits.shape[1:-1], strict=True)):
        raise InputError(f"labels of size {labels.shape[1:]} are smaller than the logits, {logits.shape[1:-1]}")
    return center_crop(labels[..., None], like=logits)[..., 0]


def pixel_targets(
    logits: Logits, labels: Labels, weights: Weights | None, ignore: int | None
) -> tuple[Float[Array, "n *out classes"], Classes, Values, Mask]:
    """Logits (N, *out, K ≥ 2), and labels, weights (0 where ignored) and known (bool), all (N, *out).

    Pixels that count but whose label is not a class are not `known`; their label is set to 0. Raises InputError if the
    labels do not fit the logits, or are not integers.
    """
    logits = at_least_float32(class_logits(logits))
    if jnp.issubdtype(labels.dtype, jnp.floating):
        raise InputError(f"labels are {labels.dtype}; class numbers must be integers, such as int32")
    labels = crop_labels(labels, logits)
    weights = jnp.ones(labels.shape, logits.dtype) if weights is None else crop_labels(weights, logits)
    counted = labels != ignore if ignore is not None else jnp.ones(labels.shape, bool)
    known = ~counted | ((labels >= 0) & (labels < logits.shape[-1]))
    inside = counted & known
    return logits, jnp.where(inside, labels, 0), jnp.where(counted, weights.astype(logits.dtype), 0.0), known


def weighted_mean(loss: Values, weights: Values, known: Mask) -> Scalar:
    """Σ w·loss / Σ w; 0 if no pixel counts, NaN if the label of a counted pixel is not a class."""
    loss = jnp.where(known, jnp.where(weights > 0, loss, 0.0), jnp.nan)
    total = weights.sum()
    return jnp.where(total > 0, (loss * weights).sum() / jnp.where(total > 0, total, 1.0), 0.0)


def overlaps(logits: Logits, labels: Classes, weights: Values, known: Mask) -> tuple[Counts, Counts, Counts]:
    """Per image and class: Σ w·p·t, Σ w·p·(1 − t) and Σ w·(1 − p)·t, with p = softmax and t the target.

    These are the soft counts of true positives, false positives and false negatives.
    """
    p = jax.nn.softmax(logits)
    t = jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype)
    w = jnp.where(known, weights, jnp.nan)[..., None]
    axes = tuple(range(1, logits.ndim - 1))
    return (w * p * t).sum(axes), (w * p * (1 - t)).sum(axes), (w * (1 - p) * t).sum(axes)


def present_mean(score: Counts, size: Counts) -> Scalar:
    """The mean of `score` over the classes present in each image (`size` > 0); 0 if none is present."""
    present = jnp.where(jnp.isnan(size), True, size > 0)
    count = present.sum()
    return jnp.where(count > 0, jnp.where(present, score, 0.0).sum() / jnp.maximum(count, 1), 0.0)
