"""The help of commands: every flag once, in its group, with its default once; flags that only --help-all shows."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest
import tyro

from unet_tools.arguments import help
from unet_tools.arguments.help import Layout, groups_of, parser_of, render
from unet_tools.cli import COMMANDS, OFTEN_MEANT, main
from unet_tools.training.flags import HELP


@dataclass(frozen=True)
class Inner:
    """Of the second group."""

    rate: float | None = None
    """Peak. None (or 0): 1e-3."""
    many: tuple[int, ...] = (2, 4)
    """Numbers."""


@dataclass(frozen=True)
class Args:
    image: tyro.conf.Positional[Path]
    """The image."""
    out: Path = field(default=Path("x"), metadata={})
    """The file."""
    kind: Literal["a", "b"] | None = None
    """Default: a."""
    mirror: bool = True
    """Mirrors."""
    json: bool = False
    """Prints JSON."""
    inner: Inner = field(default_factory=Inner)


def entries(text):
    """The descriptions in a help text by usage; continued lines are joined."""
    found, last = {}, ""
    for line in text.splitlines():
        if re.match(r"  \S", line):
            last, _, said = line.strip().partition("  ")
            found[last] = said.strip()
        elif line.startswith(" " * 24):
            found[last] = f"{found[last]} {line.strip()}".strip()
    return found


def test_values_and_defaults_are_said_once_and_none_is_no_value(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = render("do", "Does it.\n\nExample: unet do x", parser_of(Args, None))
    assert text.startswith("usage: unet do IMAGE [OPTIONS]\n\nDoes it.\n\nExample: unet do x\n")
    assert entries(text) == {
        "IMAGE": "The image.",
        "--out PATH": "The file. Default: x.",
        "--kind a|b": "Default: a.",
        "--[no-]mirror": "Mirrors. On by default.",
        "--json": "Prints JSON.",
        "--rate NUMBER": "Peak. 0: 1e-3.",
        "--many N ...": "Numbers. Default: 2 4.",
    }
    assert "Of the second group:\n" in text


def test_defaults_are_those_of_the_instance():
    text = render("do", "", parser_of(Args, Args(Path("i"), kind="b", inner=Inner(0.5))))
    assert entries(text)["--rate NUMBER"].endswith("Default: 0.5.")


def test_a_layout_orders_the_flags_and_hides_the_advanced_ones():
    layout = Layout({"First": ("--rate", "--json"), "Second": ("--out",)}, frozenset({"--json", "--many"}))
    parser = parser_of(Args, None)
    titles = [line for line in render("do", "", parser, layout).splitlines() if line.endswith(":")]
    assert titles == ["Arguments:", "First:", "Second:", "Options:", "Of the second group:"]
    short, whole = (render("do", "", parser, layout, everything) for everything in (False, True))
    assert "--json" not in short
    assert "--many" not in short
    assert "unet do --help-all shows 2 more options." in short
    assert "--help-all" not in whole
    assert len(entries(whole)) == len(entries(short)) + 2 == 7


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lines_fit_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["train", "--help-all"]) == 0
    longest = max((line for line in capsys.readouterr().out.splitlines() if "Example:" not in line), key=len)
    assert 0.7 * min(columns, 100) < len(longest) <= min(columns, 100)


def test_the_layout_of_train_names_every_flag_once_and_no_other():
    command = import_module("unet_tools.commands.train")
    flags = {f.name for group in groups_of(parser_of(command.Args, command.defaults([]))).values() for f in group}
    placed = [name for names in HELP.groups.values() for name in names]
    assert len(placed) == len(set(placed))
    assert set(placed) | {""} == flags
    assert set(placed) > HELP.advanced


def test_the_short_help_of_train_is_at_most_100_lines_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert 60 < len(lines) <= 100
    assert not [line for line in lines if re.search(r"\bNone\b|settings\.|optimisation\.", line)]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_help_shows_none_or_a_default_twice(name, capsys):
    assert main([name, "--help-all"]) == 0
    for usage, said in entries(capsys.readouterr().out).items():
        assert not re.search(r"\bNone\b|\(default|\{", f"{usage} {said}"), usage
        assert said.count("Default: ") <= 1, usage


@pytest.mark.parametrize("flag", OFTEN_MEANT)
def test_flags_of_other_programs_are_explained(flag, capsys):
    assert main(["train", "d", "--out", "r", f"{flag}=3"]) == 2
    line = capsys.readouterr().err
    assert line == f"unet: unet train has no {flag}: {OFTEN_MEANT[flag]} (unet train --help)\n"
    named = re.search(r"--[a-z-]+", OFTEN_MEANT[flag])
    if named:
        assert named[0] in {name for names in HELP.groups.values() for name in names}


@pytest.mark.parametrize(
    ("metavar", "shown"),
    [
        ("{None}|PATH", "PATH"), ("PATH|{None}", "PATH"), ("{None,2,3}", "2|3"), ("{a,b}", "a|b"),
        ("[INT [INT ...]]", "N ..."), ("{None}|{[INT [INT ...]]}", "N ..."), ("STR", "TEXT"), ("FLOAT", "NUMBER"),
        ("{None}|INT", "N"), ("", ""),
    ],
)  # fmt: skip
def test_values_are_shown_in_plain_words(metavar, shown):
    assert help._value(metavar) == shown


@pytest.mark.parametrize(
    ("text", "switch", "shown"),
    [
        ("Rate. (default: 2.0)", False, "Rate. Default: 2."),
        ("Rate. (default: 0.5)", False, "Rate. Default: 0.5."),
        ("Name. (default: '')", False, "Name."),
        ("Name. (default: None)", False, "Name."),
        ("Name. (default: False)", False, "Name."),
        ("Name. Default: as in x. (default: 3)", False, "Name. Default: as in x."),
        ("Turns. (default: True)", True, "Turns. On by default."),
        ("Turns. (default: False)", True, "Turns."),
        ("Image. (required)", False, "Image. Required."),
        ("Rate. None: as usual. (default: None)", False, "Rate. Left out: as usual."),
        ("Two\n  lines. (default: 1\n2)", False, "Two lines. Default: 1\n2."),
    ],
)
def test_a_default_is_said_once(text, switch, shown):
    assert help._meaning(text, switch) == shown


def test_a_name_that_is_too_long_stands_on_a_line_of_its_own():
    usage = "--" + "x" * 19
    assert help._entry(help.Flag("", usage, "Meaning."), 80) == [f"  {usage} Meaning."]
    assert help._entry(help.Flag("", usage + "x", "Meaning."), 80) == [f"  {usage}x", " " * 24 + "Meaning."]
    assert help._entry(help.Flag("", "--x", "Meaning."), 59) == ["  --x   Meaning."]
    assert help._entry(help.Flag("", "--x", "one two"), 13) == ["  --x   one", " " * 8 + "two"]
    assert help._entry(help.Flag("", "--x", ""), 80) == ["  --x".ljust(24)]
    wide = help._entry(help.Flag("", "--choice " + "|".join("abcdef") + " " + "y" * 60, "Meaning."), 70)
    assert wide[1] == " " * 6 + "y" * 60
    assert wide[2] == " " * 24 + "Meaning."


def test_paragraphs_are_filled_and_examples_stay():
    text = "one\ntwo\n\nthree " + "x" * 30 + "\n\nExample: a " + "y" * 40 + "\n  more"
    assert help._paragraphs(text, 32) == ["one two", "", "three", "x" * 30, "", "Example: a " + "y" * 40, "  more"]


@pytest.mark.parametrize(("columns", "width"), [(60, 60), (100, 100), (180, 100)])
def test_the_help_is_as_wide_as_the_terminal_up_to_a_limit(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    text = render("do", "a " * 200, parser_of(Args, None))
    assert width - 2 < max(map(len, text.splitlines())) <= width
