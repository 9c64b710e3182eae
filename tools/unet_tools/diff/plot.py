"""Plots a comparison: own and inherited error of every step on a log axis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from unet_spec import InputError
from unet_spec.files import writing

from ..report.style import require
from .result import DIRECTIONS, Comparison, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")


def plot_comparison(comparison: Comparison) -> Figure:
    """One panel per pass, with one row per step in order from the top. Raises InputError without matplotlib."""
    from ..report.style import drawing, new_figure

    panels = {d: steps for d in DIRECTIONS if (steps := comparison.shown(d))}
    rows = max(map(len, panels.values()), default=1)
    letters = max((len(step.label) for steps in panels.values() for step in steps), default=1)
    with drawing():
        figure = new_figure(max(len(panels), 1) * (3.6 + 0.058 * letters), rows * 0.145 + 1.1, "constrained")
        for number, (direction, steps) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), number, title=direction.capitalize())
            axes.set_xlabel(f"error of {comparison.a},\nrelative to {comparison.b}")
            _draw(axes, steps, comparison.eps)
    return figure


def save_plot(comparison: Comparison, path: Path) -> None:
    """Writes a .png or .svg, atomically. Raises InputError."""
    check_path(path)
    figure = plot_comparison(comparison)
    from ..report.style import drawing

    with drawing(), writing(path) as temporary:
        figure.savefig(temporary, facecolor="white")


def check_path(path: Path) -> None:
    """Raises InputError if `save_plot` would fail; called before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {path}: a plot is one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")
    require("matplotlib")


def _draw(axes: Axes, steps: list[Step], eps: float) -> None:
    from ..report.style import BLUE, INK, MUTED, VERMILLION

    worst = [step.worst for step in steps]
    finite = [v for r in worst for v in (r.own, r.inherited, r.bound) if v > 0 and math.isfinite(v)]
    low = min([*finite, eps or 1e-16]) / 4  # errors of 0 are drawn at the left edge, infinite ones at the right
    high = max([*finite, 1e-6]) * 10
    rows = range(len(steps))

    def inside(value: float) -> float:
        return high if math.isnan(value) else min(max(value, low), high)

    axes.set_xscale("log")
    axes.set(xlim=(low, high), ylim=(len(steps) - 0.5, -0.5))
    axes.xaxis.set_major_formatter(lambda x, _: f"1e{round(math.log10(x))}")
    axes.minorticks_off()
    axes.set_yticks(rows, [step.label for step in steps])
    axes.grid(axis="x")
    axes.scatter([inside(r.bound) for r in worst], rows, marker="|", s=26, color=INK, label="bound of own")
    hollow = {"facecolors": "none", "edgecolors": MUTED, "clip_on": False}
    axes.scatter([inside(r.inherited) for r in worst], rows, s=16, label="inherited", **hollow)
    colors = [VERMILLION if step.verdict == "differs" else BLUE for step in steps]
    axes.scatter([inside(r.own) for r in worst], rows, s=12, c=colors, label="own", clip_on=False)
    for tick, step in zip(axes.get_yticklabels(), steps, strict=True):
        if step.verdict == "differs":
            tick.set_color(VERMILLION)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0, handletextpad=0.2)
