"""What commands print: texts in one line each, strict JSON, tables with aligned numbers."""

from __future__ import annotations

import io
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.progress import BarColumn, Progress
from rich.text import Text

from unet_data import Measurement
from unet_spec.untrusted.text import LIMIT
from unet_tools import console
from unet_tools.console import Notes, PlainConsole, grouped, plain, print_classes, print_json, print_table, to_json


def printed(made: type[PlainConsole], *texts, width=20, **options):
    file = io.StringIO()
    made(file=file, width=width, **options).print(*texts)
    return file.getvalue()


def test_a_note_is_one_line_however_narrow_the_terminal_is():
    text = "one two three four five six seven"
    assert printed(Notes, text) == f"{text}\n"
    assert printed(PlainConsole, text).count("\n") == 2  # a table's cell, for example, is wrapped
    assert len(printed(Notes, Text(text)).splitlines()) == 2


def test_a_bar_among_notes_is_not_wider_than_the_terminal():
    file = io.StringIO()
    bar = Progress(BarColumn(None), console=Notes(file=file, width=20, force_terminal=True))
    bar.add_task("", total=2)
    with bar:
        pass
    assert max(map(len, Text.from_ansi(file.getvalue()).plain.splitlines())) <= 20


def test_a_note_shows_control_characters_and_takes_brackets_as_they_are():
    assert printed(Notes, "a[bold]b\n\x1b[31m") == "a[bold]b\\n\\x1b[31m\n"
    assert printed(PlainConsole, "a[bold]b", width=80) == "a[bold]b\n"
    assert printed(PlainConsole, "1 'a'", width=80, force_terminal=True) == "1 'a'\n"  # nothing is coloured unasked


def test_a_note_has_a_limit_and_a_result_has_none():
    long = "a" * (LIMIT + 1)
    assert len(printed(lambda **options: Notes(LIMIT, **options), long).strip()) <= LIMIT  # type: ignore[arg-type]
    assert printed(PlainConsole, long, width=1000) == f"{long}\n"
    assert console.notes._limit == LIMIT
    assert console.notes.stderr
    assert console.console._limit is None
    assert not console.console.stderr


def test_warnings_become_notes_and_others_stay_what_they_are(capsys):
    def warn():
        with console.warnings_as_notes():
            for _ in range(2):  # each time, not once for a line of code
                warnings.warn("dark", UserWarning, stacklevel=1)
            warnings.warn("other", RuntimeWarning, stacklevel=1)

    with pytest.warns(RuntimeWarning, match="other"):
        warn()
    assert capsys.readouterr().err == "warning: dark\nwarning: dark\n"


def test_json_is_strict(capsys):
    value = {1: (np.float32(0.5), math.nan), "b": [math.inf, -math.inf, np.arange(2)], "c": Path("x"), "d": {"e": None}}
    expected = {"1": [0.5, None], "b": [None, None, [0, 1]], "c": "x", "d": {"e": None}}
    assert json.loads(to_json(value)) == expected
    print_json({"a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'
    assert plain({"a": Path("x")}) == {"a": Path("x")}


def test_numbers_of_a_table_are_aligned_right(capsys):
    print_table("a title", ("name", "n", "m"), [("a", 5, 123), ("bcdefg", 12345, Text("7"))], right="1 2")
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "a title",
        "name        n    m",
        "a           5  123",
        "bcdefg  12345    7",
    ]
    print_table(None, ("name", "n"), [("a", 5)])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == ["name  n", "a     5"]


def test_classes_without_a_score_have_an_empty_cell(capsys):
    matrix = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    print_classes(Measurement({}, matrix, {}, ("hole", "cell", "none")))
    head, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head == ["class", "IoU", "Dice", "share", "of", "pixels", "predicted"]
    assert rows[0] == ["hole", "0.6667", "0.8000", "0.6667", "0.5833"]
    assert rows[1] == ["cell", "0.5000", "0.6667", "0.3333", "0.4167"]
    assert rows[2] == ["none", "0.0000", "0.0000"]


def test_thousands_are_separated_and_nothing_is_empty():
    assert (grouped(31030658), grouped(999), grouped(0)) == ("31,030,658", "999", "")
