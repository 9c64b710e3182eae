"""Writes docs/reference/commands.md from the parsers of the command `unet`.

python docs/generate/commands.py
"""

from __future__ import annotations

import argparse
import importlib
import re
import warnings
from pathlib import Path
from typing import Any

import tyro

from unet_tools.cli import COMMANDS

PAGE = Path(__file__).parents[1] / "reference" / "commands.md"
HEAD = """# The command line

Every command and every flag. `unet COMMAND --help` prints the same; this page is written from the parsers by
`python docs/generate/commands.py`.

A flag without a value is a switch; its second form turns it off: `--json`, `--no-json`. Where a flag may be "automatic"
or "off", it takes `None`. Exit codes: 0 done; 1 a check failed, or a result cannot be written; 2 bad input, with one
line that says what is wrong.

| command | does |
|---|---|
"""


def parser_of(name: str) -> Any:
    """The parser of a command, as `unet_tools.cli` makes it."""
    command = importlib.import_module(f"unet_tools.commands.{name}")
    default: dict[str, Any] = {"default": command.defaults([])} if hasattr(command, "defaults") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return tyro.extras.get_parser(
            command.Args,
            **default,
            prog=f"unet {name}",
            description=command.__doc__,
            config=(tyro.conf.OmitArgPrefixes,),
        )


def described(text: str) -> str:
    """A command's docstring as Markdown: its examples are one block at the end."""
    lines = text.strip().splitlines()
    examples = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    rest = escaped("\n".join(line for line in lines if not line.startswith("Example: ")).strip())
    return f"{rest}\n\n```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```" if examples else rest


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it unchanged; flags as code, code as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    for i in range(0, len(parts), 2):
        plain = re.sub(r"([<>|*_\[\]])", r"\\\1", parts[i])
        parts[i] = re.sub(r"(?<![\w`-])(--[a-z][a-z-]+)", r"`\1`", plain)
    return "".join(parts)


def row(action: argparse.Action) -> str:
    """A flag: its names and its value, what it does, its default."""
    text = str(action.help or "").replace("\n", " ")
    found = re.search(r"\s*\((default: .*|required|repeatable|optional)\)$", text)
    default = found[1].removeprefix("default: ") if found else ""
    text = text[: found.start()] if found else text
    flags = [flag for flag in action.option_strings if not flag.startswith("--no-")]
    names = " ".join(map(code, flags)) or code(action.dest.upper().rpartition(".")[2])
    is_switch = len(flags) < len(action.option_strings)
    value = "" if is_switch or not flags else f"<br>{values(action.metavar)}"
    notes = {"None": "", "False": "", "''": "", "": "", "True": " On by default.", "required": " Required."}
    return f"| {names}{value} | {escaped(text)}{notes.get(default, f' Default: {code(default)}.')} |"


def values(metavar: str | tuple[str, ...] | None) -> str:
    """What a flag takes: a kind of value, or the choices; "…" where it takes several."""
    text = " ".join(metavar) if isinstance(metavar, tuple) else str(metavar or "")
    text = re.sub(r"\{None\}\||(?<=\{)None,", "", text)
    text = re.sub(r"(\S+) \[\1 \.\.\.\]", r"\1 …", text)  # SIZE [SIZE ...]
    return escaped(re.sub(r"[\[\]{}]", "", text).replace(",", ", "))


def code(text: str) -> str:
    """Text as code in a table."""
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def table(actions: list[argparse.Action]) -> str:
    return "\n".join(["| flag | what it does |", "|---|---|", *map(row, actions)])


def section(name: str) -> str:
    """Of one command: what it does, its examples, its flags by group."""
    parts = [f"## unet {name}", described(importlib.import_module(f"unet_tools.commands.{name}").__doc__ or "")]
    main: list[argparse.Action] = []
    others: list[str] = []
    for group in parser_of(name)._action_groups:
        actions = [a for a in group._group_actions if "--help" not in a.option_strings]
        if group.title in ("positional arguments", "options"):
            main += actions
        elif actions:
            others += [f"**{group.title}**. {escaped(group.description or '')}".strip(), table(actions)]
    return "\n\n".join([*parts, table(main), *others])


def page() -> str:
    """The whole page."""
    index = "\n".join(f"| [`unet {name}`](#unet-{name}) | {what} |" for name, what in COMMANDS.items())
    return HEAD + index + "\n\n" + "\n\n".join(map(section, COMMANDS)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
