"""The help text of a command: its flags in groups, with meaning and default."""

from __future__ import annotations

import re
import shutil
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

WIDEST = 100
"""Maximum width in columns."""

COLUMN = 24
"""Columns for the names; longer names are on a separate line."""

NARROW = 60
"""Width of a terminal, in columns, below which all names are on separate lines."""


@dataclass(frozen=True)
class Layout:
    """Which flags a command's help shows, and in which order.

    Attributes:
        groups: names of flags by the title of their group, in the order in which a user decides.
        advanced: flags that only --help-all shows.
    """

    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    advanced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Flag:
    """A flag or a positional argument.

    Attributes:
        name: the long name, "" of a positional argument.
        usage: names and values, such as "--out PATH, -o PATH".
        text: meaning and default.
    """

    name: str
    usage: str
    text: str


def parser_of(arguments: type, default: Any) -> Any:
    """The argparse parser of a command's dataclass, from tyro.

    Args:
        arguments: the dataclass.
        default: an instance whose values are the defaults; None: those of the class.
    """
    import tyro

    from .sizes import registry

    given = {} if default is None else {"default": default}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # tyro has no other interface to its flags
        return tyro.extras.get_parser(  # type: ignore[call-overload]
            arguments, **given, config=(tyro.conf.OmitArgPrefixes,), registry=registry()
        )


def groups_of(parser: Any) -> dict[str, list[Flag]]:
    """The flags of a parser by the title of their group, in the order of the dataclass."""
    groups: dict[str, list[Flag]] = {}
    for group in parser._action_groups:
        title = (group.description or group.title or "").strip().rstrip(".")
        title = {"positional arguments": "Arguments", "options": "Options"}.get(title, title)
        flags = [_flag(action) for action in group._group_actions if "-h" not in action.option_strings]
        if flags:
            groups.setdefault(title, []).extend(flags)
    return groups


def render(name: str, description: str, parser: Any, layout: Layout | None = None, everything: bool = True) -> str:
    """The help of `unet NAME`, in the width of the terminal.

    Args:
        name: name of the command.
        description: its docstring; paragraphs are filled, lines that begin with "Example:" are not changed.
        parser: parser of `parser_of`.
        layout: groups and advanced flags; None: those of the parser, none advanced.
        everything: also show the advanced flags.
    """
    width = min(WIDEST, shutil.get_terminal_size((80, 24)).columns)
    groups = groups_of(parser)
    arguments = " ".join(flag.usage for flag in groups.get("Arguments", ()))
    lines = [f"usage: unet {name} {arguments + ' ' if arguments else ''}[OPTIONS]", ""]
    lines += [*_paragraphs(description, width), ""]
    hidden = 0
    for title, flags in _arranged(groups, layout or Layout()):
        shown = [flag for flag in flags if everything or not layout or flag.name not in layout.advanced]
        hidden += len(flags) - len(shown)
        if shown:
            lines += [f"{title}:", *(line for flag in shown for line in _entry(flag, width)), ""]
    if hidden:
        lines += [f"unet {name} --help-all shows {hidden} more options.", ""]
    return "\n".join(lines)


def _arranged(groups: dict[str, list[Flag]], layout: Layout) -> Iterator[tuple[str, list[Flag]]]:
    """The groups of the layout, then all other flags in the parser's groups."""
    flags = {flag.name: flag for group in groups.values() for flag in group if flag.name}
    placed = {name for names in layout.groups.values() for name in names}
    yield "Arguments", groups.get("Arguments", [])
    for title, names in layout.groups.items():
        yield title, [flags[name] for name in names if name in flags]
    for title, group in groups.items():
        yield title, [flag for flag in group if flag.name and flag.name not in placed]


def _flag(action: Any) -> Flag:
    names = [name for name in action.option_strings if not name.startswith("--no-")]
    negated = any(name.startswith("--no-") for name in action.option_strings)
    value = _value(action.metavar or "")
    if not names:
        place = action.dest.rpartition(".")[2].replace("-", "_").upper()
        several = " ..." if action.nargs in ("*", "+") else ""
        return Flag("", place + several, _meaning(action.help or "", False).removesuffix(" Required."))
    long = next(name for name in names if name.startswith("--"))
    if negated and action.default:
        return Flag(long, long.replace("--", "--[no-]", 1), _meaning(action.help or "", True))
    usage = ", ".join(f"{name} {value}".rstrip() for name in sorted(names, key=len, reverse=True))
    return Flag(long, usage, _meaning(action.help or "", negated))


def _value(metavar: str) -> str:
    """Simplifies tyro's values: "{None}|PATH" to "PATH", "{None,2,3}" to "2|3", "[INT [INT ...]]" to "INT ..."."""
    text = re.sub(r"\{None\}\||\|\{None\}", "", metavar)
    text = re.sub(r"\{((?:None,)?[^{}\[\]]*)\}", lambda m: "|".join(v for v in m[1].split(",") if v != "None"), text)
    text = re.sub(r"[{\[]+([^\s\[\]{}]+) \[\1 \.\.\.\][\]}]*", r"\1 ...", text)
    return re.sub(r"[\[\]{}]", "", text).replace("STR", "TEXT").replace("INT", "N").replace("FLOAT", "NUMBER")


def _meaning(text: str, switch: bool) -> str:
    """The help text with the default printed once; a default of None is not printed."""
    default = re.search(r"\s*\(default: (.*)\)$", text, re.DOTALL)
    text = " ".join((text[: default.start()] if default else text).split())
    text = text.replace(" (required)", " Required.")
    text = text.replace("None (or 0): ", "0: ").replace(" None: ", " Left out: ")
    value = default[1] if default else ""
    if switch:
        return f"{text} On by default." if value == "True" else text
    if value in ("", "''", "None", "False") or "Default" in text:
        return text
    return f"{text} Default: {value.removesuffix('.0')}."


def _entry(flag: Flag, width: int) -> list[str]:
    usage = f"  {flag.usage}"
    column = COLUMN if width >= NARROW else 8
    text = textwrap.wrap(flag.text, width - column - 1, break_on_hyphens=False) or [""]
    rows = [" " * column + line for line in text]
    if len(usage) < column:
        return [usage.ljust(column) + text[0], *rows[1:]]
    lines = textwrap.wrap(usage, width, subsequent_indent=" " * 6, break_on_hyphens=False)
    return [*lines, *rows]


def _paragraphs(text: str, width: int) -> list[str]:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        examples = [line for line in paragraph.splitlines() if line.startswith(("Example:", "  "))]
        prose = " ".join(line for line in paragraph.splitlines() if line not in examples)
        lines += [*textwrap.wrap(prose, width, break_on_hyphens=False), *examples, ""]
    return lines[:-1]
