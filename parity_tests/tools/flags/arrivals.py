"""What a command hands to the functions that do its work, which are replaced for the test."""

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
"""Stands for an argument of a call that is not made with the flag, or not without it."""


class Watch:
    """Replaces functions and keeps the arguments that they are called with, as flat names: "callee.argument.field"."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.patch = patch
        self.arrived: dict[str, Any] = {}

    def stub(self, where: str, answer: Any = None, only: str | None = None) -> None:
        """`where`: as of monkeypatch.setattr. `answer`: what the stub returns, or computes from the same arguments.
        `only`: the arguments to keep, separated by spaces; "" keeps that it was called."""
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
    """Fields of dataclasses have names of their own; functions are left out."""
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
    """A command and what each of its flags does.

    Attributes:
        words: the shortest command line, after "unet".
        stubs: replaces the functions that do the work; takes the Watch.
        base: what arrives of the words alone; not all of it.
        rows: by flag: its values on the command line, and all that arrives otherwise than without it. The flag may be
            followed by others that it needs, which are also in the command line that it is compared with.
        needs: by flag: those others.
        elsewhere: by flag: the test file that shows what it does.
    """

    words: str
    stubs: Callable[[Watch], None]
    base: dict[str, Any]
    rows: dict[str, tuple[str, dict[str, Any]]]
    needs: dict[str, str] = field(default_factory=dict)
    elsewhere: dict[str, str] = field(default_factory=dict)


def arrivals(command: Command, more: str) -> dict[str, Any]:
    """What arrives of a command line; `more` follows the words of the command."""
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        command.stubs(watch)
        code = main([*shlex.split(command.words), *shlex.split(more)])
        return watch.arrived | {"exit code": code}


def difference(command: Command, flag: str) -> dict[str, Any]:
    """What arrives with the flag and not without it."""
    needed = command.needs.get(flag, "")
    before = arrivals(command, needed)
    after = arrivals(command, f"{needed} {flag} {command.rows[flag][0]}")
    return {k: after.get(k, GONE) for k in before | after if not same(before.get(k, GONE), after.get(k, GONE))}


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other) if hasattr(one, "shape") or hasattr(other, "shape") else one == other


def flags_in_help(name: str, capsys: pytest.CaptureFixture) -> set[str]:
    """The long names of a command's flags; of those that can be negated, the one that is not."""
    capsys.readouterr()
    assert main([name, "--help-all"]) == 0
    return {f"--{flag}" for flag in re.findall(r"^  --(?:\[no-\])?([\w-]+)", capsys.readouterr().out, re.MULTILINE)}
