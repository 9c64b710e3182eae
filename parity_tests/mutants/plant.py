"""Plants a bug within a block: an edit of a function, an attribute, or an entry of a table."""

from __future__ import annotations
import __future__

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Protocol
from unittest import mock


class Plant(Protocol):
    """A reversible change. `where`: its place. `change`: its description."""

    @property
    def where(self) -> str: ...

    @property
    def change(self) -> str: ...

    def planted(self) -> Any:
        """A context manager: the change is in effect within it."""
        ...


@dataclass(frozen=True)
class Edit:
    """Replaces `old` by `new` in the source of a function.

    The function object stays and receives new code, so that the change has effect wherever the function was imported.

    Attributes:
        function: attribute of its module or, for a method, of its class. Its decorators do not change.
        old: text that its source contains exactly once.
        new: the replacement.
        label: name of the place, if the function's name is not enough.
    """

    function: Any
    old: str
    new: str
    label: str = ""

    @property
    def where(self) -> str:
        return self.label or f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def change(self) -> str:
        return f"{self.old} → {self.new}"

    @contextmanager
    def planted(self) -> Iterator[None]:
        function = inspect.unwrap(self.function)
        original = function.__code__
        try:
            function.__code__ = self._code(function)
            yield
        finally:
            function.__code__ = original

    def _code(self, function: Any) -> CodeType:
        source = textwrap.dedent(inspect.getsource(function))
        source = source[re.search(r"^(async )?def ", source, re.MULTILINE).start() :]  # type: ignore[union-attr]
        old = textwrap.dedent(self.old)
        if source.count(old) != 1:
            raise ValueError(f"{self.where} holds {source.count(old)} times, not once: {self.old!r}")
        # super() without arguments reads the class from a cell called __class__.
        body = textwrap.indent(source.replace(old, textwrap.dedent(self.new)), "    ")
        module = f"def factory(__class__):\n{body}\n    return {function.__code__.co_name}\n"
        flags = __future__.annotations.compiler_flag
        made: dict[str, Any] = {}
        exec(compile(module, f"<planted in {self.where}>", "exec", flags, True), function.__globals__, made)
        return made["factory"](None).__code__


@dataclass(frozen=True)
class Attributes:
    """Replaces attributes of a module or class.

    Attributes:
        owner: the module or class.
        change: description of the change.
        values: new objects by attribute name.
    """

    owner: Any
    change: str
    values: dict[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        own = (
            f"{self.owner.__module__}.{self.owner.__qualname__}" if inspect.isclass(self.owner) else self.owner.__name__
        )
        return f"{own}.{', '.join(self.values)}"

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            for name, value in self.values.items():
                stack.enter_context(mock.patch.object(self.owner, name, value))
            yield


@dataclass(frozen=True)
class Entries:
    """Replaces entries of a table. `table` returns it; `where` and `change` are descriptions."""

    where: str
    change: str
    table: Callable[[], MutableMapping[str, Any]] = field(repr=False)
    values: dict[str, Any] = field(repr=False)

    @contextmanager
    def planted(self) -> Iterator[None]:
        with mock.patch.dict(self.table(), self.values):
            yield
