"""The trend of a training run, from the losses in its log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

Direction = Literal["falling", "flat", "overfitting", "rising", "unknown"]

FEWEST = 4
"""Minimum number of validations for a trend."""

CHANGE = 0.04
"""Minimum relative change of the loss that counts as a change: over the last half, or since its minimum."""


class Trend(NamedTuple):
    """The trend of the validation loss at the end.

    Attributes:
        direction: "falling", "flat", "overfitting" (it rises and the training loss falls), "rising" (neither falls),
            or "unknown" (too few validations).
        lowest: step and value of the lowest mean over a fifth of the validations. now: the last such mean.
    """

    direction: Direction
    lowest: tuple[int, float] = (0, math.nan)
    now: float = math.nan


def trend(log: Sequence[dict[str, Any]]) -> Trend:
    """The trend of a log, the records of log.jsonl.

    The loss overfits or rises if the mean of its last fifth is more than 4 % above the lowest such mean. It falls if a
    line through its last half falls by more than 4 % and by more than twice its uncertainty.

    Example:
        >>> log = [{"step": s, "loss": 2 / s} for s in range(1, 9)]
        >>> log += [{"step": s, "validation_loss": 2 / s} for s in range(1, 9)]
        >>> trend(log).direction
        'falling'
    """
    steps, losses = _series(log, "validation_loss")
    if len(losses) < FEWEST:
        return Trend("unknown")
    width = max(1, len(losses) // 5)
    means = np.convolve(losses, np.full(width, 1 / width), "valid")
    at, now = int(means.argmin()), float(means[-1])
    lowest = (int(steps[at + width - 1]), float(means[at]))
    if now - lowest[1] > CHANGE * abs(lowest[1]):
        return Trend("overfitting" if _falls_after(log, lowest[0]) else "rising", lowest, now)
    half = slice(len(losses) // 2, None)
    return Trend("falling" if _falls(steps[half], losses[half]) else "flat", lowest, now)


def _series(log: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a series, without values that are not finite."""
    points = [(r["step"], r[key]) for r in log if isinstance(r.get(key), int | float) and math.isfinite(r[key])]
    table = np.array(points, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _falls(steps: np.ndarray, losses: np.ndarray) -> bool:
    if len(losses) < 3:
        return bool(losses[0] - losses[-1] > CHANGE * abs(losses[0]))
    x = steps - steps.mean()
    slope = float((x * losses).sum() / (x * x).sum())
    rest = losses - losses.mean() - slope * x
    uncertainty = math.sqrt(float((rest * rest).sum()) / (len(losses) - 2) / float((x * x).sum()))
    fall = -slope * float(steps[-1] - steps[0])
    return fall > CHANGE * abs(float(losses.mean())) and -slope > 2 * uncertainty


def _falls_after(log: Sequence[dict[str, Any]], step: int) -> bool:
    """Whether the training loss is lower at the end than near this step."""
    steps, losses = _series(log, "loss")
    after = losses[steps > step]
    before = losses[steps <= step]
    count = max(1, len(after) // 2)
    return bool(len(after) and len(before) and after[-count:].mean() < before[-count:].mean())
