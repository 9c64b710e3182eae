"""What one side of a comparison did: its calls, in NumPy, in one layout, under one kind of name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

OUTPUT = "<output>"

Place = tuple[str, int | str]
"""Where a value comes out of a module's own code: (OUTPUT, label of the leaf), or (key of the call that it is handed
to, position among the arrays of that call's arguments)."""
Outputs = dict[str, np.ndarray]
"""The arrays and numbers of a call's output by label: "" for a single array, "[0]", "['mask']" for leaves of a tree."""


@dataclass
class Call:
    """One call of one module.

    Attributes:
        key: the module's path, with "#2" for its second call and so on.
        path: dotted; the network itself is "".
        parent: key of the call that it was made in; None for the network's own.
        kind: the module's class.
        inputs: the arrays among its arguments, in order; keyword arguments last, by name. Channels last.
        outputs: as `Outputs` says. Channels last.
        weights: shapes of the module's own parameters, PyTorch's axes.
        eps: spacing of 1.0 in the coarsest floating dtype among inputs and outputs.
        start, end: moments on the clock of the whole run.
        input_gradients, output_gradients: of the loss, if they were asked for. That of an input is the part that
            comes through this call.
    """

    key: str
    path: str
    parent: str | None
    kind: str
    inputs: list[np.ndarray]
    outputs: Outputs
    weights: dict[str, tuple[int, ...]]
    eps: float
    start: int
    end: int
    input_gradients: dict[int, np.ndarray] = field(default_factory=dict)
    output_gradients: Outputs = field(default_factory=dict)


Trace = dict[str, Call]
"""Calls by key."""


class Side(Protocol):
    """Something that runs a network and can run each part of it again."""

    name: str
    flat: bool
    """Whether it has layers only, and no modules that hold others."""
    differentiable: bool

    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        """Runs the network on arrays (channels last)."""
        ...

    def run(self, key: str, inputs: Sequence[np.ndarray], forced: Mapping[str, Outputs]) -> dict[Place, np.ndarray]:
        """The own code of one recorded call on other inputs: calls within it that `forced` names are not made but
        answered. Returns what it hands to those calls, and its output."""
        ...

    def differentiate(self, cotangents: Outputs) -> None:
        """Fills in the trace's gradients of the loss sum(cotangent · output) of the network."""
        ...

    def pull_back(
        self,
        key: str,
        inputs: Sequence[np.ndarray],
        forced: Mapping[str, Outputs],
        cotangents: Mapping[Place, np.ndarray],
    ) -> dict[Place, np.ndarray]:
        """The gradients of what `run` returns, weighted by `cotangents`, by ("input", i), ("parameter", PyTorch name),
        and (key, label) for each answer in `forced`."""
        ...


def ancestors(trace: Trace, key: str) -> Iterator[str]:
    """The calls that this one was made in, the innermost first."""
    parent = trace[key].parent
    while parent is not None:
        yield parent
        parent = trace[parent].parent


def within(trace: Trace, key: str, stop: set[str]) -> list[str]:
    """Calls made in this one, in order, but not those made in calls of `stop`; those themselves are among them."""
    found = [k for k in trace if k != key and key in (above := list(ancestors(trace, k))) and not
             stop & set(above[: above.index(key)])]  # fmt: skip
    return sorted(found, key=lambda k: trace[k].start)


class Counter:
    """Names calls: "path", then "path#2"."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def __call__(self, path: str) -> str:
        count = self._seen[path] = self._seen.get(path, 0) + 1
        return path if count == 1 else f"{path}#{count}"


def leaves(tree: Any, label: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested tuples, lists and dicts (by sorted key), with labels such as "[0]['mask']"."""
    if isinstance(tree, Mapping):
        for key in sorted(tree, key=str):
            yield from leaves(tree[key], f"{label}[{key!r}]")
    elif isinstance(tree, tuple | list):
        for i, value in enumerate(tree):
            yield from leaves(value, f"{label}[{i}]")
    else:
        yield label, tree


def replace(tree: Any, function: Callable[[str, Any], Any], label: str = "") -> Any:
    """The same tree with function(label, leaf) in place of each leaf, in the order of `leaves`."""
    if isinstance(tree, Mapping):
        new = {key: replace(tree[key], function, f"{label}[{key!r}]") for key in sorted(tree, key=str)}
        return {key: new[key] for key in tree}
    if isinstance(tree, tuple | list):
        items = [replace(value, function, f"{label}[{i}]") for i, value in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(label, tree)
