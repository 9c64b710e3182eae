"""A report as a picture: own and inherited error of every step on a log axis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from unet_spec import InputError
from unet_spec.checkpoint import replacing
from unet_tools.diff.report import Direction, Report, Step

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
_ROW = 0.145  # inches


def plot_report(report: Report) -> Figure:
    """One panel a pass, one row a step in its order, from the top. Raises InputError without matplotlib."""
    from unet_tools.report.style import axes_at, drawing, new_figure

    directions: list[Direction] = ["forward", "backward"]
    panels = {d: [s for s in report.steps if s.direction == d and not s.trivial] for d in directions}
    panels = {d: steps for d, steps in panels.items() if steps}
    names = 0.35 + 0.058 * max((len(s.label) for steps in panels.values() for s in steps), default=1)
    width = 3.2
    with drawing():
        rows = max((len(steps) for steps in panels.values()), default=1)
        figure = new_figure(len(panels) * (names + width + 0.25) or 1, rows * _ROW + 1.1)
        for i, (direction, steps) in enumerate(panels.items()):
            left = i * (names + width + 0.25) + names
            axes = axes_at(figure, left, 0.35, width, len(steps) * _ROW, direction.capitalize())
            _draw(axes, steps, report.eps)
            axes.set_xlabel(f"error of {report.a},\nrelative to {report.b}")
    return figure


def save_plot(report: Report, path: Path) -> None:
    """Writes a .png or .svg, wholly or not at all. Raises InputError."""
    check_path(path)
    figure = plot_report(report)
    from unet_tools.report.style import drawing

    try:
        with drawing(), replacing(path) as temporary:
            figure.savefig(temporary, facecolor="white")
    except OSError as e:
        raise InputError(f"cannot write {path}: {e.strerror or e}") from None


def check_path(path: Path) -> None:
    """Raises InputError where `save_plot` is sure to; to be asked before anything is computed."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"cannot write {path}: a plot is one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: the folder {path.parent} does not exist")


def _draw(axes: Axes, steps: list[Step], eps: float) -> None:
    from unet_tools.report.style import BLUE, FAINT, INK, MUTED, VERMILLION

    worst = [step.worst for step in steps]
    seen = [v for r in worst for v in (r.own, r.inherited, r.bound) if v > 0 and math.isfinite(v)]
    low = min([*seen, eps or 1e-16]) / 4  # errors of 0 stand at the left edge, infinite ones at the right
    high = max([*seen, 1e-6]) * 10
    rows = range(len(steps))

    def inside(value: float) -> float:
        return high if math.isnan(value) else min(max(value, low), high)

    axes.set_xscale("log")
    axes.set(xlim=(low, high), ylim=(len(steps) - 0.5, -0.5))
    powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    powers = powers[:: max(1, len(powers) // 7)]
    axes.set_xticks([10.0**p for p in powers], [f"1e{p}" for p in powers])
    axes.set_xticks([], minor=True)
    axes.set_yticks(list(rows), [step.label for step in steps])
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.scatter([inside(r.bound) for r in worst], rows, marker="|", s=26, color=INK, label="bound of own")
    axes.scatter(
        [inside(r.inherited) for r in worst], rows, s=16, facecolors="none", edgecolors=MUTED, label="inherited",
        clip_on=False,
    )  # fmt: skip
    colors = [VERMILLION if step.verdict == "differs" else BLUE for step in steps]
    axes.scatter([inside(r.own) for r in worst], rows, s=12, c=colors, label="own", clip_on=False)
    for tick, step in zip(axes.get_yticklabels(), steps, strict=True):
        if step.verdict == "differs":
            tick.set_color(VERMILLION)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=6.5, frameon=False, borderpad=0, handletextpad=0.2
    )
