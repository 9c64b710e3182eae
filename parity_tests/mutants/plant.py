"""How a bug is planted for as long as a block lasts: a line of a function, an attribute, or an entry of a table."""

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
    """A change that can be made and taken back. `where` names the place, `change` says what is done there."""

    @property
    def where(self) -> str: ...

    @property
    def change(self) -> str: ...

    def planted(self) -> Any:
        """A context manager: the change is in effect within it."""
        ...


@dataclass(frozen=True)
class Edit:
    """`old` in the source of a function reads `new`.

    The function object stays and is given other code, so that whoever imported it under whatever name runs the change.

    Attributes:
        function: as it is defined: a module's or, for a method, a class's. Its decorators are left as they are.
        old: text that its source holds exactly once.
        new: what stands there instead.
        label: the place, where the function's own name says too little.
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
    """Attributes of a module or class are other objects.

    Attributes:
        owner: the module or class.
        change: in words.
        values: the new objects by the attributes' names.
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
    """Entries of a table are others; `table` gives it, `where` and `change` are in words."""

    where: str
    change: str
    table: Callable[[], MutableMapping[str, Any]] = field(repr=False)
    values: dict[str, Any] = field(repr=False)

    @contextmanager
    def planted(self) -> Iterator[None]:
        with mock.patch.dict(self.table(), self.values):
            yield
