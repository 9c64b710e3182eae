"""One side of a comparison, and the record of its calls with NumPy arrays, one layout and one naming scheme."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unet_spec import InputError

OUTPUT, INPUT, PARAMETER = "<output>", "<input>", "<parameter>"

Place = tuple[str, int | str]
"""The place at which a value leaves a module's own code: (OUTPUT, label of the leaf), or (key of the receiving call,
position among the arrays of its arguments). For a gradient: (INPUT, position), (PARAMETER, PyTorch name), or (key of a
call, label of its output)."""
Outputs = dict[str, np.ndarray]
"""The arrays and numbers of a call's output by label: "" for a single array, "[0]", "['mask']" for leaves of a tree."""


@dataclass
class Call:
    """One call of one module.

    Attributes:
        key: the module's path, with "#2" for its second call and so on.
        path: dotted; the network itself is "".
        parent: key of the enclosing call; None for the network's call.
        kind: class of the module.
        inputs: the arrays among the arguments, in order; keyword arguments last, by name. Channels last.
        outputs: see `Outputs`. Channels last.
        weights: shapes of the module's own parameters, with PyTorch's axes.
        eps: spacing of 1.0 in the coarsest floating dtype among inputs and outputs.
        start, end: times on the clock of the run.
        input_gradients, output_gradients: gradients of the loss, after `differentiate`. For an input, the part through
            this call.
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


@dataclass(frozen=True)
class Feed:
    """The inputs of a repeated call.

    Attributes:
        inputs: the arrays among the arguments.
        answers: recorded outputs of inner calls that are not run, by key.
        cotangents: gradients of the values that leave the own code; empty in a forward pass.
    """

    inputs: Sequence[np.ndarray]
    answers: Mapping[str, Outputs]
    cotangents: Mapping[Place, np.ndarray] = field(default_factory=dict)


class Side(ABC):
    """Runs a network, and can repeat each of its calls.

    Attributes:
        name: name for messages.
        flat: whether there are only layers, without nested modules.
        differentiable: whether it has a backward pass.
    """

    name: str
    flat = False
    differentiable = False

    @abstractmethod
    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        """Runs the network on arrays (channels last)."""

    @abstractmethod
    def run(self, key: str, feed: Feed) -> dict[Place, np.ndarray]:
        """Runs the own code of one recorded call on other values. Returns the values that it passes to inner calls, and
        its output."""

    def differentiate(self, cotangents: Outputs) -> None:
        """Fills in the gradients of the trace, for the loss sum(cotangent · output) of the network."""
        raise InputError(f"{self.name} has no backward pass; compare jax with torch")

    def pull_back(self, key: str, feed: Feed) -> dict[Place, np.ndarray]:
        """The gradients of the result of `run`, weighted by the feed's cotangents, with respect to the call's inputs,
        its own parameters, and the answers."""
        raise InputError(f"{self.name} has no backward pass; compare jax with torch")


def ancestors(trace: Trace, key: str) -> Iterator[str]:
    """The enclosing calls, the innermost first."""
    parent = trace[key].parent
    while parent is not None:
        yield parent
        parent = trace[parent].parent


def within(trace: Trace, key: str, stop: set[str]) -> list[str]:
    """Calls inside this one, in order, including calls in `stop` but not the calls inside those."""
    inner = [k for k in trace if k != key and key in (above := list(ancestors(trace, k))) and not
             stop & set(above[: above.index(key)])]  # fmt: skip
    return sorted(inner, key=lambda k: trace[k].start)


class Counter:
    """Makes keys of calls: "path", then "path#2"."""

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
    """Replaces each leaf of a tree by function(label, leaf), in the order of `leaves`."""
    if isinstance(tree, Mapping):
        new = {key: replace(tree[key], function, f"{label}[{key!r}]") for key in sorted(tree, key=str)}
        return {key: new[key] for key in tree}
    if isinstance(tree, tuple | list):
        items = [replace(value, function, f"{label}[{i}]") for i, value in enumerate(tree)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(label, tree)
