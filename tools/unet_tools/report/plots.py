"""Curves and bars of a report. Each is drawn into given axes, so that page and summary show the same plots."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import BLUE, GREEN, INK, MUTED, PURPLE, VERMILLION, drawing, new_figure
from .text import fit, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = {
    "pixel_accuracy": ("accuracy", BLUE),
    "iou": ("IoU", VERMILLION),
    "dice": ("Dice", GREEN),
    "v_rand": ("V_Rand", PURPLE),
    "ap_mean": ("mean AP", PURPLE),  # never beside V_Rand
}
WORDS = {True: "pass", False: "FAIL", None: "not run"}


def figure_of(draw: Callable[..., None], width: float, height: float, *arguments: Any) -> Figure:
    """A figure of `width` by `height` inches with draw(axes, *arguments). Raises InputError without matplotlib."""
    with drawing():
        figure = new_figure(width, height, "constrained")
        draw(figure.add_subplot(), *arguments)
    return figure


def parity_height(parity: list[dict[str, Any]]) -> float:
    """Height of `draw_parity` in inches, including the axis."""
    return 0.24 * max(2, len(parity)) + 0.6


def draw_loss(axes: Axes, log: list[dict[str, Any]]) -> None:
    """Plots loss against step: every training record faintly, their moving median, and the validation loss, if any."""
    steps, loss = series(log, "loss")
    if not len(loss):
        _draw_nothing(axes, "no finite loss")
        return
    window = len(loss) // 25 if len(loss) >= 50 else 0
    if window:
        axes.plot(steps, loss, color=BLUE, alpha=0.3, linewidth=0.8)
    reach = [min(window, i, len(loss) - 1 - i) for i in range(len(loss))]  # symmetric at the ends too
    medians = [np.median(loss[i - r : i + r + 1]) for i, r in enumerate(reach)]
    axes.plot(steps, medians, color=BLUE, linewidth=1.6, marker="o" if len(loss) == 1 else "", label="training")
    measured, validation = series(log, "validation_loss")
    if len(validation):
        axes.plot(measured, validation, color=VERMILLION, linewidth=1.2, marker="o", markersize=2.6, label="validation")
        axes.legend(loc="upper right", labelcolor="linecolor", handlelength=1.2)
        steps, loss = np.concatenate([steps, measured]), np.concatenate([loss, validation])
    if loss.min() > 0 and loss.max() / loss.min() > 30:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # matplotlib's default labels are TeX
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(min(0, loss.min()), np.quantile(loss, 0.99) * 1.1 or 1)
    _step_axis(axes, steps)


def draw_series(axes: Axes, log: list[dict[str, Any]], key: str) -> None:
    """Plots the values of `key` against step; the axis starts at 0."""
    steps, values = series(log, key)
    axes.plot(steps, values, color=BLUE, linewidth=1.6, marker="o" if len(values) == 1 else "")
    axes.set_ylim(0, float(values.max()) * 1.1 or 1)
    axes.yaxis.set_major_formatter("{x:g}")
    _step_axis(axes, steps)


def draw_scores(axes: Axes, log: list[dict[str, Any]], baseline: float | None) -> None:
    """Plots validation scores against step, and the baseline (the most frequent class everywhere) as a dashed line."""
    lines = {key: series(log, key) for key in SCORES}
    lines = {key: (x, y) for key, (x, y) in lines.items() if len(x)}
    if not lines:
        _draw_nothing(axes, "not measured during training")
        return
    for key, (x, y) in lines.items():
        word, color = SCORES[key]
        marker = {"marker": "o", "markersize": 2.6 if len(x) < 30 else 0}
        axes.plot(x, y, color=color, linewidth=1.6, label=f"{word} {y[-1]:.3f}", **marker)
    lowest = min(y.min() for _, y in lines.values())
    if baseline is not None and math.isfinite(baseline):
        axes.axhline(baseline, color=MUTED, linewidth=1, linestyle=(0, (3, 2)), label=f"one class {baseline:.3f}")
        lowest = min(lowest, baseline)
    axes.set_ylim(max(0.0, math.floor((lowest - 0.02) * 10) / 10), 1.0)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), labelcolor="linecolor", handlelength=1.2)
    _step_axis(axes, np.concatenate([x for x, _ in lines.values()]))


def draw_parity(axes: Axes, parity: list[dict[str, Any]]) -> None:
    """Plots the worst relative error of each comparison on a log axis, with its bound as a tick and the verdict as
    text."""
    numbers = [row.get("worst_relative") for row in parity if row.get("ok") is not None]
    numbers += [row.get("bound") for row in parity]
    seen = [v for v in numbers if v and math.isfinite(v)] or [1e-16, 1e-4]
    low, high = 10.0 ** (math.floor(math.log10(min(seen))) - 1), 10.0 ** math.ceil(math.log10(max(seen)) + 0.3)
    axes.set_xscale("log")
    axes.set(xlim=(low, high), ylim=(len(parity) - 0.4, -0.6))
    axes.set_xlabel("worst error, relative to the largest logit (tick: bound)")
    axes.xaxis.set_major_formatter(lambda x, _: short(x, 1))
    axes.minorticks_off()
    axes.set_yticks(range(len(parity)), [fit(f"{r.get('runtime', '')} {r.get('dtype', '')}", 32) for r in parity])
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=7)
    axes.grid(axis="x")
    axes.spines["left"].set_visible(False)
    for y, row in enumerate(parity):
        ok, bound, worst = row.get("ok"), row.get("bound"), row.get("worst_relative")
        if bound:
            axes.vlines(bound, y - 0.34, y + 0.34, color=INK, linewidth=1.4)
        if ok is not None:
            finite = worst is not None and math.isfinite(worst)
            end = max(worst or 0.0, low) if finite else high
            axes.barh(y, end - low, 0.28, low, color=BLUE if ok else VERMILLION)
            _write_beside(axes, y, 38, short(worst) if finite else "NaN", ha="right", color=INK)
        color = {None: MUTED, True: GREEN, False: VERMILLION}[None if ok is None else bool(ok)]
        word = WORDS[None if ok is None else bool(ok)]
        _write_beside(axes, y, 42, word, color=color, weight="bold" if word == "FAIL" else "normal")


def _write_beside(axes: Axes, y: int, points: float, text: str, **style: Any) -> None:
    """Writes text to the right of the axes, at a distance in points."""
    where = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
    axes.annotate(text, (1, y), (points, 0), va="center", size=7, **where, **style)


def _step_axis(axes: Axes, steps: np.ndarray) -> None:
    axes.set(xlabel="step", xlim=(0, float(steps.max()) or 1.0))
    axes.locator_params(axis="x", nbins=4, integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y")


def _draw_nothing(axes: Axes, reason: str) -> None:
    axes.set(xticks=[], yticks=[], xlabel="step")
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def series(log: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the records with a finite value of `key`, float64."""
    points = [(r["step"], r[key]) for r in log if isinstance(r.get(key), int | float) and math.isfinite(r[key])]
    table = np.array(points, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
