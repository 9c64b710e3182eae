"""Prints a comparison in the terminal."""

from __future__ import annotations

import math

from rich.text import Text

from ..console import console, print_table
from .result import DIRECTIONS, Comparison, Step

_COLORS = {"differs": "red", "inherited": "yellow", "same": ""}


def print_comparison(comparison: Comparison) -> None:
    """Prints one line per step with its worst tensor; steps that only pass values on are left out. Then prints the
    first step that differs, and the modules without counterpart."""
    columns = ("layer", "tensor", "own", "ulp", "inherited", "total", "ulp", "bound of own", "")
    for direction in DIRECTIONS:
        if steps := comparison.shown(direction):
            title = f"{direction}: {comparison.a}, relative to {comparison.b}"
            print_table(title, columns, [_line(step) for step in steps], right="2 3 4 5 6 7")
            console.print()
    for side, keys in comparison.unmatched.items():
        if keys:
            more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
            text = f"only in {side}: {', '.join(keys[:8])}{more} (counted as code of the module that calls them)"
            console.print(text, style="yellow")
    for note in comparison.notes:
        console.print(note, style="yellow")
    for direction in DIRECTIONS:
        if step := comparison.first(direction):
            console.print(f"{direction}: diverges first at {describe(step)}", style="red")
    if comparison.same:
        console.print("the same: every layer is within rounding of the other side's", style="green")


def describe(step: Step) -> str:
    """The step and its worst error, in one line."""
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


def _line(step: Step) -> tuple[str | Text, ...]:
    worst = step.worst
    errors = (number(worst.own), ulps(worst.own_ulps), number(worst.inherited), number(worst.total))
    verdict = Text.assemble((step.verdict, _COLORS[step.verdict]), f" {worst.note}" if worst.note else "")
    return step.label, worst.what, *errors, ulps(worst.total_ulps), number(worst.bound), verdict
