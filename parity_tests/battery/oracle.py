"""The losses in NumPy, pixel by pixel, written from their formulas and not from the twins."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from unet_spec import NetworkConfig


def cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray | None = None,
    ignore: int | None = None,
    smoothing: float = 0.0,
) -> float:
    """Σ w · (−Σ_k t_k log p_k) / Σ w over the pixels that count, t = (1 − ε) at the label plus ε / K everywhere.

    Args:
        logits: (N, *spatial, K); K = 1: the logit of class 1 against class 0.
        labels: (N, *spatial), weights: the same shape; equal to the logits' size, or larger by an even number on each
            axis.
    """
    logits = logits.astype(np.float64)
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    inner = tuple(
        slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(labels.shape[1:], logits.shape[1:-1], strict=True)
    )
    labels = labels[(slice(None), *inner)].ravel()
    weights = np.ones(labels.shape) if weights is None else weights[(slice(None), *inner)].astype(np.float64).ravel()
    rows = logits.reshape(-1, logits.shape[-1])
    top = rows.max(-1, keepdims=True)
    log_p = rows - top - np.log(np.exp(rows - top).sum(-1, keepdims=True))
    terms, total = [], []
    for row, label, weight in zip(log_p, labels, weights, strict=True):
        if ignore is not None and label == ignore:
            continue
        if not 0 <= label < len(row):
            return math.nan
        terms.append(-weight * ((1 - smoothing) * row[label] + smoothing * row.mean()))
        total.append(weight)
    return math.fsum(terms) / math.fsum(total) if math.fsum(total) > 0 else 0.0


def distance_loss(predicted: np.ndarray, target: np.ndarray, weights: np.ndarray) -> float:
    """Σ w · (d − t)² / Σ w over the pixels with t ≥ 0. predicted: (N, *spatial); the others have the same size or are
    larger."""
    inner = tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(target.shape, predicted.shape, strict=True))
    rows = zip(predicted.ravel(), target[inner].ravel(), weights[inner].astype(np.float64).ravel(), strict=True)
    kept = [(w * (d - t) ** 2, w) for d, t, w in rows if t >= 0]
    return math.fsum(a for a, _ in kept) / math.fsum(w for _, w in kept) if kept else 0.0


def divergence(p: tuple[np.ndarray, np.ndarray], q: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """KL(p ‖ q) of diagonal Gaussians given as (mean, log std), (N, latent): summed over the latent axis."""
    (mean, std), (mean_q, std_q) = ((m, np.exp(s)) for m, s in (p, q))
    return (np.log(std_q / std) + (std**2 + (mean - mean_q) ** 2) / (2 * std_q**2) - 0.5).sum(-1)


def network_loss(
    config: NetworkConfig,
    outputs: Mapping[str, np.ndarray],
    of: Callable[[np.ndarray, tuple[int, ...]], float],
    pixels: int,
) -> float:
    """The training loss of a network, from all its outputs in training mode, by name (`outputs.of_reference`).

    `of` (logits, stride): the loss against every n-th label on each axis. The result is the mean of `of` over the
    logits and all side heads; if side heads are coarser, each has half the weight of the next finer one (nnU-Net's deep
    supervision). With a latent variable, it is the negative ELBO per pixel: `of` the reconstruction plus beta / pixels
    · KL(posterior ‖ prior).
    """
    one = (1,) * config.spatial_dims
    if "reconstruction" in outputs:
        p, q = ((outputs[f"{name}.mean"], outputs[f"{name}.log_std"]) for name in ("posterior", "prior"))
        return of(outputs["reconstruction"], one) + config.beta / pixels * divergence(p, q).mean()  # type: ignore[attr-defined]
    heads = [outputs[name] for name in ("logits", *reversed(config.graph.auxiliary))]
    size = heads[0].shape[1:-1]
    strides = [tuple(n // m for n, m in zip(size, z.shape[1:-1], strict=True)) for z in heads]
    shares = [0.5**k if strides[-1] != one else 1.0 for k in range(len(heads))]
    return float(np.average([of(z, stride) for z, stride in zip(heads, strides, strict=True)], weights=shares))
