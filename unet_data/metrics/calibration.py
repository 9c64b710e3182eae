"""Calibration: are 80 % of the pixels right that are predicted with 80 %? Also fits a temperature that improves it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError

from ..datasets.label_rule import IGNORED
from ..labels.masks import unpack_masks

if TYPE_CHECKING:
    from jaxtyping import Float, Int, Shaped

BINS = 15
"""Number of equally wide bins of the confidence in 0..1, as in Guo et al. 2017."""
MAX_DECISIONS = 1_000_000
"""Maximum number of decisions to which a temperature is fitted."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0


def decisions(
    logits: Float[np.ndarray, "*spatial k"], label: Shaped[np.ndarray, "*any"], overlapping: bool = False
) -> tuple[Float[np.ndarray, "m c"], Int[np.ndarray, " m"]]:
    """The logits and the true class of every decision, without ignored pixels.

    Args:
        logits: (*spatial, K). A single channel is the logit of class 1 against class 0.
        label: (*spatial), class numbers; IGNORED pixels are left out. If classes may overlap, the numbers of
            `unet_data.pack_masks`.
        overlapping: whether a pixel may have several classes. Then each class of each pixel is a decision between 0
            and 1.

    Example:
        >>> decisions(np.array([[2.0], [1.0]]), np.array([1, IGNORED]))
        (array([[0., 2.]]), array([1]))
    """
    if overlapping:
        truth = unpack_masks(np.asarray(label), logits.shape[-1]).astype(np.int64)
        single, flat = logits.reshape(-1, 1), truth.ravel()
    else:
        flat = np.asarray(label).ravel().astype(np.int64)
        single = logits.reshape(-1, logits.shape[-1])
        flat = np.where(flat == IGNORED, -1, flat)
    counted = flat >= 0
    rows, flat = single[counted], flat[counted]
    return np.concatenate([np.zeros_like(rows), rows], axis=-1) if rows.shape[-1] == 1 else rows, flat


def negative_log_likelihood(
    rows: Float[np.ndarray, "m c"], truth: Int[np.ndarray, " m"], temperature: float = 1.0
) -> float:
    """−(1 / m) Σ log softmax(rows / temperature)[truth]; NaN without decisions.

    Args:
        rows: logits of each decision.
        truth: true class of each decision.
        temperature: temperature, above 0.

    Example:
        >>> round(negative_log_likelihood(np.zeros((3, 2)), np.array([0, 1, 1])), 4)  # log 2
        0.6931
    """
    return float(-_log_softmax(rows / temperature)[np.arange(len(truth)), truth].mean()) if len(truth) else math.nan


def _log_softmax(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    rows = rows - rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))


def expected_calibration_error(
    confidence: Float[np.ndarray, " m"], right: Shaped[np.ndarray, " m"], bins: int = BINS
) -> float:
    """ECE = Σ_b |B_b| / m · |accuracy(B_b) − confidence(B_b)| over bins (b / bins, (b + 1) / bins] of the confidence.

    Source: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017 (arXiv 1706.04599), equation 3.

    Args:
        confidence: probability of the predicted class, in 0..1.
        right: whether the predicted class is the true one.
        bins: number of bins, all of the same width.

    Returns:
        0 (calibrated) to 1; NaN without decisions.

    Example:
        >>> round(expected_calibration_error(np.array([0.9, 0.9, 0.6]), np.array([True, False, True])), 4)
        0.4
    """
    return _ece(*_histogram(confidence, right, bins))


def _histogram(confidence: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    """(3, bins): number of decisions, sum of their confidence, and number of right ones."""
    index = np.clip(np.ceil(np.asarray(confidence, np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    weights = (None, confidence, np.asarray(right, np.float64))
    return np.stack([np.bincount(index, w, bins).astype(np.float64) for w in weights])


def _ece(count: np.ndarray, confidence: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(right - confidence).sum() / count.sum()) if count.sum() else math.nan


class Calibration:
    """Measures the calibration of a network over many images, and samples its logits to fit a temperature.

    Args:
        overlapping: whether a pixel may have several classes.
        images: number of images that will be added; each contributes equally to the sample.
        keep: size of the sample; 0 for no sample.

    Example:
        >>> counted = Calibration()
        >>> counted.add(np.array([[4.0], [4.0]]), np.array([1, 0]))
        >>> {name: round(value, 3) for name, value in counted.scores.items()}
        {'ece': 0.482, 'nll': 2.018}
    """

    def __init__(self, overlapping: bool = False, images: int = 1, keep: int = 0):
        self.overlapping, self.share = overlapping, -(-keep // max(images, 1))
        self.histogram, self.loss, self.count = np.zeros((3, BINS)), 0.0, 0
        self._rows: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []

    def add(self, logits: np.ndarray, label: np.ndarray) -> None:
        """Adds an image, with logits and label as in `decisions`."""
        rows, truth = decisions(logits, label, self.overlapping)
        if not len(truth):
            return
        logs = _log_softmax(rows)
        self.histogram += _histogram(np.exp(logs.max(-1)), logs.argmax(-1) == truth, BINS)
        self.loss -= float(logs[np.arange(len(truth)), truth].sum())
        self.count += len(truth)
        if self.share:
            chosen = slice(None)
            if len(truth) > self.share:
                chosen = np.random.default_rng(len(self._rows)).choice(len(truth), self.share, replace=False)
            self._rows.append(rows[chosen].astype(np.float32))
            self._truth.append(truth[chosen])

    @property
    def scores(self) -> dict[str, float]:
        """ece and nll over all images added; NaN without any."""
        return {"ece": _ece(*self.histogram), "nll": self.loss / self.count if self.count else math.nan}

    @property
    def sample(self) -> tuple[np.ndarray, np.ndarray]:
        """The sampled logits (m, C) and true classes (m,). Raises InputError if there are none."""
        if not self._rows:
            raise InputError("no pixel is counted, so no temperature can be fitted")
        return np.concatenate(self._rows), np.concatenate(self._truth)

    def fitted(self) -> tuple[float, dict[str, float], dict[str, float]]:
        """The temperature fitted to the sample, and the sample's ece and nll without and with it. Raises InputError."""
        rows, truth = self.sample
        temperature = fit_temperature(rows, truth)
        return temperature, _scores(rows, truth, 1.0), _scores(rows, truth, temperature)


def _scores(rows: np.ndarray, truth: np.ndarray, temperature: float) -> dict[str, float]:
    logs = _log_softmax(rows / temperature)
    ece = expected_calibration_error(np.exp(logs.max(-1)), logs.argmax(-1) == truth)
    return {"ece": ece, "nll": negative_log_likelihood(rows, truth, temperature)}


def fit_temperature(rows: Float[np.ndarray, "m c"], truth: Int[np.ndarray, " m"]) -> float:
    """The temperature with the smallest negative log likelihood (Guo et al. 2017, section 4.2), in 0.01 to 100.

    The negative log likelihood is convex in β = 1 / temperature. The root of its derivative, the mean of Σ_c p_c x_c −
    x_truth with p the softmax of β x, is found by bisection.

    Args:
        rows: logits x of each decision.
        truth: true class of each decision.

    Example:
        >>> rows = np.log(np.array([[0.8, 0.2]] * 5))
        >>> round(fit_temperature(3 * rows, np.array([0, 0, 0, 0, 1])), 6)
        3.0
    """
    x = rows.astype(np.float64)
    true = x[np.arange(len(truth)), truth].mean()
    low, high = math.log(1 / MAX_TEMPERATURE), math.log(1 / MIN_TEMPERATURE)
    for _ in range(40):
        middle = (low + high) / 2
        slope = (np.exp(_log_softmax(math.exp(middle) * x)) * x).sum(-1).mean() - true
        low, high = (low, middle) if slope > 0 else (middle, high)
    return math.exp(-(low + high) / 2)
