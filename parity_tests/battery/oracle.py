"""The loss once more, in NumPy, pixel by pixel as its formula says; written from the formula, not from the twins."""

from __future__ import annotations

import math

import numpy as np


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
        labels: (N, *spatial), weights: alike; larger than the logits by an even number on each axis, or equal.
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
