"""A report in the terminal."""

from __future__ import annotations

import math

from rich.markup import escape

from unet_tools.console import console, print_table
from unet_tools.diff.report import Direction, Report, Step

_STYLE = {"differs": "[red]differs[/red]", "inherited": "[yellow]inherited[/yellow]", "same": "same"}


def print_report(report: Report) -> None:
    """One line a step: the worst of its tensors. Steps of modules that merely hand on what they were given are left
    out. Then what differs first, and what has no counterpart."""
    directions: list[Direction] = ["forward", "backward"]
    for direction in directions:
        steps = [s for s in report.steps if s.direction == direction and not s.trivial]
        if steps:
            title = f"{direction}: {report.a}, relative to {report.b}"
            columns = ("layer", "tensor", "own", "ulp", "inherited", "total", "ulp", "bound of own", "")
            print_table(escape(title), columns, [_line(step) for step in steps], right="2 3 4 5 6 7")
            console.print()
    for side, keys in report.unmatched.items():
        if keys:
            more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
            told = f"only in {side}: {', '.join(keys[:8])}{more} (part of the code of what calls them)"
            console.print(escape(told), style="yellow")
    for note in report.notes:
        console.print(escape(note), style="yellow")
    for direction in directions:
        if step := report.first(direction):
            console.print(f"[red]{direction}: diverges first at[/red] [bold]{escape(told_step(step))}[/bold]")
    if report.same:
        console.print("[green]the same: every layer is within rounding of the other side's[/green]")


def told_step(step: Step) -> str:
    """The step and what is wrong there, in one line."""
    worst = step.worst
    size = worst.note or f"relative {number(worst.own)}, {ulps(worst.own_ulps)} ulp, bound {number(worst.bound)}"
    where = " (its own code, between the modules within it)" if step.place else ""
    return f"{step.label}{where}: {worst.what}, {size}"


def number(value: float) -> str:
    return f"{value:.1e}" if value else "0"


def ulps(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.2g}" if value < 100 else f"{value:.0f}" if value < 1e5 else f"{value:.1e}"


def _line(step: Step) -> tuple[str, ...]:
    worst = step.worst
    errors = (number(worst.own), ulps(worst.own_ulps), number(worst.inherited), number(worst.total))
    verdict = _STYLE[step.verdict] + (f" {escape(worst.note)}" if worst.note else "")
    return escape(step.label), escape(worst.what), *errors, ulps(worst.total_ulps), number(worst.bound), verdict
