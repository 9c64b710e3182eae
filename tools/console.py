"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = None if sys.stdout.isatty() else 140  # a file or a pipe has no width of its own
console = Console(width=_WIDTH, highlight=False, markup=False)  # paths hold brackets
notes = Console(stderr=True, highlight=False, markup=False)
"""For what is not the result: progress, remarks."""


def finite(value: Any) -> Any:
    """The same with NaN and infinities as None, which strict JSON has no words for."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(finite(value), indent=2, default=str, allow_nan=False))


def print_table(title: str | None, columns: Sequence[str], lines: Iterable[Sequence[object]], right: str = "") -> None:
    """A table; `right` names the columns (by their first letters' positions, as in "2 3") that are aligned right."""
    if title:
        console.print(title)
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = set(map(int, right.split()))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in line))
    console.print(table)


def grouped(number: int) -> str:
    """31030658 as "31,030,658"; 0 as ""."""
    return f"{number:,}" if number else ""
