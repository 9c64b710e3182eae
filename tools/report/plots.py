"""The curves and bars of a report. Each is drawn into given axes, so that the page and the summary show the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .style import BLUE, FAINT, GREEN, INK, MUTED, PURPLE, VERMILLION, axes_at, drawing, fit, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .model import Report

SCORES = {
    "pixel_accuracy": ("accuracy", BLUE),
    "iou": ("IoU", VERMILLION),
    "dice": ("Dice", GREEN),
    "v_rand": ("V_Rand", PURPLE),
}
WORDS = {True: "pass", False: "FAIL", None: "not run"}
ROW = 0.24  # inches, of a bar
VERDICTS = 0.95  # inches, of the numbers and words to the right of the bars


def short(value: float | None, digits: int = 2) -> str:
    """3.1e-7, 0 or "–" for None, NaN and inf."""
    if value is None or not math.isfinite(value):
        return "–"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def series(log: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the records that hold `key` and a finite value, float64."""
    found = [(r["step"], r[key]) for r in log if isinstance(r.get(key), int | float) and math.isfinite(r[key])]
    table = np.array(found, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def draw_loss(axes: Axes, log: list[dict[str, Any]]) -> None:
    """Loss against step: every record faint, and the median of its neighbourhood."""
    steps, loss = series(log, "loss")
    axes.set(xlabel="step")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    if not len(loss):
        _empty(axes, "no finite loss")
        return
    window = max(1, len(loss) // 25)
    if window > 1:
        axes.plot(steps, loss, color=BLUE, alpha=0.3, linewidth=0.8)
    reach = [min(window, i, len(loss) - 1 - i) for i in range(len(loss))]  # symmetric at the ends too
    around = [np.median(loss[i - r : i + r + 1]) for i, r in enumerate(reach)]
    axes.plot(steps, around if window > 1 else loss, color=BLUE, linewidth=1.6, marker="o" if len(loss) == 1 else "")
    if loss.min() > 0 and loss.max() / loss.min() > 30:
        axes.set_yscale("log")
        decades = range(math.floor(math.log10(loss.min())), math.ceil(math.log10(loss.max())) + 1)
        low, high = axes.get_ylim()
        axes.set_yticks([10.0**t for t in decades], [f"{10.0**t:g}" for t in decades])  # its own are TeX
        axes.yaxis.set_minor_formatter("")
        axes.set_ylim(low, high)
    else:
        axes.set_ylim(min(0, loss.min()), np.quantile(loss, 0.99) * 1.1 or 1)
        axes.yaxis.set_major_locator(_ticks())
    _steps(axes, steps)


def draw_scores(axes: Axes, log: list[dict[str, Any]], baseline: float | None) -> None:
    """Validation scores against step, each named at its end, and the score of the commonest class as a line."""
    lines = {key: series(log, key) for key in SCORES}
    lines = {key: (x, y) for key, (x, y) in lines.items() if len(x)}
    axes.set(xlabel="step")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    if not lines:
        _empty(axes, "not measured during training")
        return
    ends = []
    for key, (x, y) in lines.items():
        word, color = SCORES[key]
        axes.plot(x, y, color=color, linewidth=1.6, marker="o", markersize=2.6 if len(x) < 30 else 0)
        ends.append((y[-1], f"{word} {y[-1]:.3f}", color))
    lowest = min(y.min() for _, y in lines.values())
    if baseline is not None and math.isfinite(baseline):
        axes.axhline(baseline, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        ends.append((baseline, f"one class {baseline:.3f}", MUTED))
        lowest = min(lowest, baseline)
    bottom = max(0.0, math.floor((lowest - 0.02) * 10) / 10)
    axes.set_ylim(bottom, 1.0)
    axes.yaxis.set_major_locator(_ticks())
    _steps(axes, np.concatenate([x for x, _ in lines.values()]))
    height = axes.get_position().height * axes.figure.get_size_inches()[1]  # type: ignore[union-attr]
    for y, (_, told, color) in zip(_apart([e[0] for e in ends], 0.125 * (1 - bottom) / height, bottom, 1.0), ends,
                                   strict=True):  # fmt: skip
        axes.text(1.03, y, told, transform=axes.get_yaxis_transform(), color=color, va="center", size=6.5)


def parity_height(parity: list[dict[str, Any]]) -> float:
    """Inches of the frame that `draw_parity` wants."""
    return ROW * max(2, len(parity))


def draw_parity(axes: Axes, parity: list[dict[str, Any]], names: float, width: float) -> None:
    """Worst relative error of each comparison on a log axis, its bound as a tick, and the verdict in words.

    The axes are `width` inches wide, with `names` inches free to the left and VERDICTS to the right.
    """
    values = [float(r.get("worst_relative") or 0) for r in parity if r.get("ok") is not None]
    bounds = [float(r["bound"]) for r in parity if r.get("bound")]
    seen = [v for v in (*values, *bounds) if v > 0 and math.isfinite(v)] or [1e-16, 1e-4]
    low, high = math.floor(math.log10(min(seen))) - 1, math.ceil(math.log10(max(seen)) + 0.3)
    axes.set_xscale("log")
    axes.set(xlim=(10.0**low, 10.0**high), ylim=(len(parity) - 0.4, -0.6))
    axes.set_yticks([])
    every = max(1, -(-(high - low) // max(2, int(width / 0.42))))
    ticks = list(range(high - every if high % every else high, low - 1, -every))
    axes.set_xticks([10.0**t for t in ticks], [f"1e{t}" for t in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.spines["left"].set_visible(False)
    axes.set(xlabel="worst error, relative to the largest logit (tick: bound)")
    for y, row in enumerate(parity):
        beside = {"transform": axes.get_yaxis_transform(), "va": "center", "size": 7}
        axes.text(-names / width, y, _name(row), color=INK, **beside)
        value, word, color = _bar(axes, y, row, 10.0**low, 10.0**high)
        axes.text(1 + 0.52 / width, y, value, ha="right", color=INK, **beside)
        axes.text(1 + 0.58 / width, y, word, color=color, weight="bold" if word == "FAIL" else "normal", **beside)


def _name(row: dict[str, Any]) -> str:
    return fit(f"{row.get('runtime', '')} {row.get('dtype', '')}", 32)


def _bar(axes: Axes, y: int, row: dict[str, Any], low: float, high: float) -> tuple[str, str, str]:
    """Draws bar and bound. Returns the value as text, the verdict and its colour."""
    ok, bound, worst = row.get("ok"), row.get("bound"), row.get("worst_relative")
    if bound:
        axes.plot([bound, bound], [y - 0.34, y + 0.34], color=INK, linewidth=1.4, solid_capstyle="butt")
    if ok is None:
        return "", WORDS[None], MUTED
    finite = worst is not None and math.isfinite(worst)
    end = max(worst, low) if worst is not None and finite else high
    axes.plot([low, end], [y, y], color=BLUE if ok else VERMILLION, linewidth=4.5, solid_capstyle="butt")
    return short(worst) if finite else "NaN", WORDS[bool(ok)], GREEN if ok else VERMILLION


def plot_loss(report: Report) -> Figure:
    """The loss curve, 4 by 2.3 inches. Raises InputError without matplotlib."""
    with drawing():
        figure = new_figure(4, 2.3)
        draw_loss(axes_at(figure, 0.4, 0.12, 3.45, 1.75), report.log)
    return figure


def plot_scores(report: Report) -> Figure:
    """The validation scores during training, 4 by 2.3 inches. Raises InputError without matplotlib."""
    with drawing():
        figure = new_figure(4, 2.3)
        draw_scores(axes_at(figure, 0.4, 0.12, 2.6, 1.75), report.log, report.scores.get("baseline_pixel_accuracy"))
    return figure


def plot_parity(report: Report) -> Figure:
    """The parity bars, 6 inches wide. Raises InputError without matplotlib."""
    with drawing():
        height, names = parity_height(report.parity), label_width(report.parity)
        figure, width = new_figure(6, height + 0.6), 6 - 0.05 - names - VERDICTS
        draw_parity(axes_at(figure, 0.05 + names, 0.08, width, height), report.parity, names, width)
    return figure


def label_width(parity: list[dict[str, Any]]) -> float:
    """Inches that the names of the bars take."""
    return 0.1 + 0.062 * max((len(_name(row)) for row in parity), default=0)


def _ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])


def _steps(axes: Axes, steps: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    last = float(steps.max()) or 1.0
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))


def _empty(axes: Axes, told: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, told, transform=axes.transAxes, ha="center", va="center", color=MUTED)


def _apart(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, in their order, at least `gap` from each other, between low and high if they fit."""
    order = np.argsort(wanted, kind="stable")
    places = np.array(wanted, np.float64)[order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    limit = max(high, low + gap * (len(places) - 1))
    for i in reversed(range(len(places))):
        places[i] = min(places[i], limit)
        limit = places[i] - gap
    result = np.empty(len(places))
    result[order] = places
    return result.tolist()
