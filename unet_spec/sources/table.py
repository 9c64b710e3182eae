"""Rename tables: another project's names for the tensors of one of our networks, in one TOML file per project.

    rows = [
      ["encoder.{i}.blocks.{k}.conv", "encoder.stages.{i}.0.convs.{k}.conv", "…all_modules.0"],
    ]

A row is for a layer: first our name, then theirs. Its tensors (weight, bias, …) have the same last name. The first row
that matches a layer is used. A name in braces is a number. On our side, it is a constant of the network (such as
`last`), or it matches any number, which gets that name. On their side it is a sum such as {last-1-i}. {text*n} repeats
the text n times, for nested modules. Several of their names for one layer mean the same tensor, which a state_dict has
once for each module that contains it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from ..graph import Graph

Constants = Mapping[str, "int | tuple[int, ...]"]
"""Numbers for a table's rows, by name: single ones, such as the number of stages, or one for each stage."""

_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Table:
    """The rename table of one project.

    Attributes:
        source: name of the project, or of its network, on the command line.
        title: its name in messages.
        marks: tensors that each of its checkpoints has, by which it is recognised; "a|b" stands for either.
        layout: "pytorch", or "keras" (kernels are H W I O).
        rows: pairs of our pattern and their patterns.
        leaves: their last names by our last names, if they differ.
        aliases: pairs of prefixes; every tensor that begins with the first exists also with the second.
    """

    source: str
    title: str
    marks: tuple[str, ...]
    layout: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    leaves: Mapping[str, str]
    aliases: tuple[tuple[str, str], ...]

    def missing_marks(self, tensors: Collection[str]) -> list[str]:
        """The marks that are not among the tensors."""
        return [mark for mark in self.marks if not any(name in tensors for name in mark.split("|"))]

    def names(self, graph: Graph, constants: Constants) -> dict[str, tuple[str, ...]]:
        """Their names of every tensor of the graph, the usual one first, by our full name.

        Raises ValueError if a layer has no row, or two tensors get the same name.
        """
        names: dict[str, tuple[str, ...]] = {}
        for ours in graph.params:
            layer, _, leaf = ours.rpartition(".")
            names[ours] = tuple(f"{name}.{self.leaves.get(leaf, leaf)}" for name in self._layer(layer, constants))
        flat = [name for group in names.values() for name in group]
        if len(set(flat)) != len(flat):
            raise ValueError(f"{self.source}: two tensors get the same name")
        return names

    def _layer(self, layer: str, constants: Constants) -> tuple[str, ...]:
        for ours, theirs in self.rows:
            if match := _pattern(ours, constants).fullmatch(layer):
                numbers = {**constants, **{key: int(value) for key, value in match.groupdict().items()}}
                names = [_filled(text, numbers) for text in theirs]
                more = [to + name[len(at) :] for at, to in self.aliases for name in names if name.startswith(at)]
                return (*names, *more)
        raise ValueError(f"{self.source}: the table has no row for the layer {layer!r}")


@lru_cache(maxsize=1)
def tables() -> dict[str, Table]:
    """All tables by source, in the order in which they are tried."""
    folder = resources.files("unet_spec.sources").joinpath("tables")
    read = [tomllib.loads(f.read_text(encoding="utf-8")) for f in folder.iterdir() if f.name.endswith(".toml")]
    return {t.source: t for t in sorted(map(_table, read), key=lambda t: t.source)}


def _table(values: dict) -> Table:
    return Table(
        values["source"],
        values["title"],
        tuple(values["marks"]),
        values.get("layout", "pytorch"),
        tuple((ours, tuple(theirs)) for ours, *theirs in values["rows"]),
        values.get("leaves", {}),
        tuple((a, b) for a, b in values.get("aliases", ())),
    )


def _pattern(ours: str, constants: Constants) -> re.Pattern[str]:
    """Our side of a row as a regular expression that captures its free numbers."""

    def group(name: str) -> str:
        return str(constants[name]) if name in constants else rf"(?P<{name}>\d+)"

    parts = _BRACES.split(ours)  # literal, name, literal, name, …
    return re.compile("".join(group(part) if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def _filled(theirs: str, numbers: Constants) -> str:
    """Their side of a row, with numbers filled in."""

    def fill(match: re.Match[str]) -> str:
        text, star, count = match[1].rpartition("*")
        return text * _sum(count, numbers) if star else str(_sum(match[1], numbers))

    return _BRACES.sub(fill, theirs)


def _sum(expression: str, numbers: Constants) -> int:
    """The value of a sum of integers, names of numbers, and entries such as `skip[i]`."""
    total = 0
    for sign, term in re.findall(r"([+-]?)\s*([^+-]+)", expression):
        total += (-1 if sign == "-" else 1) * _value(term.strip(), numbers)
    return total


def _value(term: str, numbers: Constants) -> int:
    if term.isdigit():
        return int(term)
    name, _, index = term.rstrip("]").partition("[")
    value = numbers[name]
    return value[_sum(index, numbers)] if isinstance(value, tuple) else value


__all__ = ["Constants", "Table", "tables"]
