"""Records the arguments that a command passes to its working functions, which are replaced by stubs."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from unet_tools.cli import main

GONE = "GONE"
"""Placeholder for an argument of a call that is made only with or only without the flag."""


class Watch:
    """Replaces functions and records their arguments under flat names: "callee.argument.field"."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.patch = patch
        self.arrived: dict[str, Any] = {}

    def stub(self, where: str, answer: Any = None, only: str | None = None) -> None:
        """`where`: as for monkeypatch.setattr. `answer`: the stub's return value, or a function of the same arguments.
        `only`: the arguments to record, separated by spaces; "" records only the call."""
        module, _, name = where.rpartition(".")
        target = pytest.importorskip(module)
        signature = inspect.signature(getattr(target, name))

        def called(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            self.arrived[name] = "called"
            for argument, value in bound.arguments.items():
                if only is None or argument in only.split():
                    self.arrived |= flat(f"{name}.{argument}", value)
            return answer(*args, **kwargs) if callable(answer) else answer

        self.patch.setattr(target, name, called)


def flat(name: str, value: Any) -> dict[str, Any]:
    """Fields of dataclasses are recorded by name; functions are left out."""
    if is_dataclass(value):
        found: dict[str, Any] = {}
        for each in fields(value):
            found |= flat(f"{name}.{each.name}", getattr(value, each.name))
        return found
    if isinstance(value, Path):
        return {name: str(value)}
    return {} if inspect.isroutine(value) else {name: value}


@dataclass(frozen=True)
class Command:
    """A command and the effect of each of its flags.

    Attributes:
        words: the shortest command line, after "unet".
        stubs: function that replaces the working functions; its argument is the Watch.
        base: some arguments that are passed for the words alone.
        rows: by flag: its values on the command line, and all arguments that differ from those without it. The flag may
            be followed by flags that it needs, which are also part of the compared command line.
        needs: by flag: the flags that it needs.
        elsewhere: by flag: the test file that tests its effect.
    """

    words: str
    stubs: Callable[[Watch], None]
    base: dict[str, Any]
    rows: dict[str, tuple[str, dict[str, Any]]]
    needs: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)


def arrivals(command: Command, more: str) -> dict[str, Any]:
    """The recorded arguments of a command line; `more` follows the words of the command."""
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        command.stubs(watch)
        code = main([*shlex.split(command.words), *shlex.split(more)])
        return watch.arrived | {"exit code": code}


_BEFORE: dict[tuple[str, str], dict[str, Any]] = {}
"""What arrived without a flag, by command line; it is the same for all flags that need the same."""


def difference(command: Command, flag: str) -> dict[str, Any]:
    """The arguments that differ with the flag."""
    needed = command.needs.get(flag, "")
    if (command.words, needed) not in _BEFORE:
        _BEFORE[command.words, needed] = arrivals(command, needed)
    before = _BEFORE[command.words, needed]
    after = arrivals(command, f"{needed} {flag} {command.rows[flag][0]}")
    return {k: after.get(k, GONE) for k in before | after if not same(before.get(k, GONE), after.get(k, GONE))}


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other) if hasattr(one, "shape") or hasattr(other, "shape") else one == other


def flags_in_help(name: str, capsys: pytest.CaptureFixture) -> set[str]:
    """The long names of a command's flags, without negated forms."""
    capsys.readouterr()
    assert main([name, "--help-all"]) == 0
    return {f"--{flag}" for flag in re.findall(r"^  --(?:\[no-\])?([\w-]+)", capsys.readouterr().out, re.MULTILINE)}
