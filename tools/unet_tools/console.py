"""The output of commands: tables for people, JSON for machines."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unet_spec.untrusted.text import LIMIT, one_line, visible

if TYPE_CHECKING:
    from unet_data import Measurement


class PlainConsole(Console):
    """A console for untrusted texts: one line per text, visible control characters, no markup (paths may contain
    brackets)."""

    def __init__(self, limit: int | None = None, **options: Any):
        super().__init__(highlight=False, markup=False, **options)
        self._limit = limit

    def render_str(self, text: str, **options: Any) -> Text:
        text = visible(text) if self._limit is None else one_line(text, self._limit)
        return super().render_str(text, **options)


class Notes(PlainConsole):
    """A console on which each text is one line, also if it is longer than the terminal is wide."""

    def print(self, *texts: Any, **options: Any) -> None:
        options.setdefault("soft_wrap", all(isinstance(text, str) for text in texts))
        super().print(*texts, **options)


_WIDTH = None if sys.stdout.isatty() else 140  # files and pipes have no width
console = PlainConsole(width=_WIDTH)
notes = Notes(LIMIT, stderr=True)
"""Standard error, for progress and notes that are not part of the result."""


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Prints Python warnings in the block as notes of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        shown = warnings.showwarning
        warnings.showwarning = lambda message, kind, *where: (
            notes.print(f"warning: {message}") if kind is UserWarning else shown(message, kind, *where)
        )
        yield


def plain(value: Any) -> Any:
    """Converts values for strict JSON: NumPy values to Python's, tuples to lists, keys to text, NaN and infinities to
    None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_json(value: Any) -> str:
    """A strict JSON document; values without a JSON type, such as paths, become text."""
    return json.dumps(plain(value), indent=2, default=str, allow_nan=False)


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(to_json(value))


def print_table(title: str | None, columns: Sequence[str], lines: Iterable[Sequence[object]], right: str = "") -> None:
    """Prints a table.

    Args:
        title: a line above it, if any.
        columns: headings of the columns.
        lines: cells of each row.
        right: indices of the columns that are aligned right, such as "2 3"; the first is 0.
    """
    if title:
        console.print(title)
    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = set(map(int, right.split()))
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i in numeric else "left", overflow="fold")
    for line in lines:
        table.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in line))
    console.print(table)


def print_classes(measured: Measurement) -> None:
    """A table of the scores of each class."""
    rows = []
    for scores in measured.classes:
        numbers = [f"{scores[name]:.4f}" for name in ("iou", "dice", "share", "predicted")]
        rows.append((scores["name"], *("" if number == "nan" else number for number in numbers)))
    print_table(None, ("class", "IoU", "Dice", "share of pixels", "predicted"), rows, right="1 2 3 4")


def grouped(number: int) -> str:
    """31030658 as "31,030,658"; 0 as ""."""
    return f"{number:,}" if number else ""
