"""A network made of modules, run call by call: what PyTorch and Flax have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from typing import Any

import numpy as np

from unet_tools.diff.capture import Handler
from unet_tools.diff.trace import OUTPUT, Call, Counter, Outputs, Place, Trace, leaves, replace, within

Layout = str | Mapping[str, str]


@dataclass(frozen=True)
class Slot:
    """Where an array was. `like` is what the framework needs to make another one: dtype, device."""

    like: Any
    swap: bool


class ModuleSide(ABC):
    """Records a module's calls and repeats them. Subclasses say what an array is and how to differentiate."""

    flat = False
    differentiable = True
    channels_first: bool
    name: str

    def __init__(self, model: Any, name: str, layout: Layout = "channels"):
        self.model, self.name, self.layout = model, name, layout
        self.trace: Trace = {}
        self._given: dict[str, tuple[Any, Any]] = {}  # arguments and output of each call, Slots for arrays
        self._inputs: list[np.ndarray] = []

    # What a framework has to say

    @abstractmethod
    def around(self, model: Any, handler: Handler) -> AbstractContextManager[Mapping[str, Any]]: ...
    @abstractmethod
    def fresh(self) -> AbstractContextManager[Any]:
        """The model to run, in the state that it had at first."""

    @abstractmethod
    def is_array(self, leaf: Any) -> bool: ...
    @abstractmethod
    def numpy(self, array: Any) -> np.ndarray: ...
    @abstractmethod
    def native(self, array: np.ndarray, like: Any) -> Any: ...
    @abstractmethod
    def like(self, array: Any | None) -> Any:
        """What `native` needs to make such an array; for None, to make the network's own input."""

    @abstractmethod
    def eps(self, array: Any) -> float:
        """Of the array's dtype; 0 for integers."""

    @abstractmethod
    def weights(self, path: str) -> dict[str, tuple[int, ...]]: ...
    @abstractmethod
    def vjp(
        self, function: Callable[[Any, list], list], arrays: list, cotangents: Callable[[list], list]
    ) -> tuple[list, dict[str, np.ndarray]]:
        """Gradients of sum(cotangent · output) of `function(model, arrays)` by `arrays` and by every parameter (full
        PyTorch name and axes). `cotangents` makes native ones for the outputs. Only floating arrays take part."""

    def copy(self, array: Any) -> Any:
        """Something that code may change in place without harm."""
        return array

    # What is the same in both

    def swap(self, path: str, dims: int) -> bool:
        """Whether arrays of so many axes change between channels-first and channels-last at this module."""
        layout = self.layout
        if not isinstance(layout, str):
            layout = next((v for pattern, v in layout.items() if fnmatch(path, pattern)), "channels")
        return self.channels_first and layout == "channels" and dims >= 4

    def to_numpy(self, leaf: Any, path: str) -> np.ndarray:
        array = self.numpy(leaf) if self.is_array(leaf) else np.asarray(leaf)
        return np.moveaxis(array, 1, -1) if self.swap(path, array.ndim) else array

    def to_native(self, array: np.ndarray, slot: Slot) -> Any:
        return self.native(np.moveaxis(array, -1, 1) if slot.swap else array, slot.like)

    def is_value(self, leaf: Any) -> bool:
        return self.is_array(leaf) or isinstance(leaf, int | float)

    def values(self, tree: Any, path: str) -> Outputs:
        return {label: self.to_numpy(leaf, path) for label, leaf in leaves(tree) if self.is_value(leaf)}

    def arrays(self, tree: Any) -> list:
        return [leaf for _, leaf in leaves(tree) if self.is_array(leaf)]

    def emptied(self, tree: Any, path: str) -> Any:
        def slot(_: str, leaf: Any) -> Any:
            return Slot(self.like(leaf), self.swap(path, leaf.ndim)) if self.is_array(leaf) else leaf

        return replace(tree, slot)

    def filled(self, tree: Any, arrays: Sequence[Any]) -> Any:
        rest = iter(arrays)
        return replace(tree, lambda _, leaf: self.copy(next(rest)) if isinstance(leaf, Slot) else leaf)

    def slots(self, tree: Any) -> dict[str, Slot]:
        return {label: leaf for label, leaf in leaves(tree) if isinstance(leaf, Slot)}

    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        counter, clock, stack = Counter(), count(), []
        self.trace, self._inputs = {}, list(inputs)

        def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
            key, parent, start = counter(path), stack[-1] if stack else None, next(clock)
            given = [self.to_numpy(a, path) for a in self.arrays((args, kwargs))]  # before it may be changed in place
            empty = self.emptied((args, kwargs), path)
            stack.append(key)
            output = function(*args, **kwargs)
            stack.pop()
            self._given[key] = empty, self.emptied(output, path)
            eps = max((self.eps(a) for a in self.arrays((args, kwargs, output))), default=0.0)
            kind, outputs = type(modules[path]).__name__, self.values(output, path)
            weights = self.weights(path)
            self.trace[key] = Call(key, path, parent, kind, given, outputs, weights, eps, start, next(clock))
            return output

        with self.fresh() as model, self.around(model, handler) as modules:
            model(*self._native_inputs())
        return self.trace

    def run(self, key: str, inputs: Sequence[np.ndarray], forced: Mapping[str, Outputs]) -> dict[Place, np.ndarray]:
        given = [self.to_native(a, s) for a, s in zip(inputs, self.slots(self._given[key][0]).values(), strict=True)]
        answers = {k: self._native_outputs(k, outputs) for k, outputs in forced.items()}
        with self.fresh() as model:
            found = self._evaluate(model, key, given, answers)
        paths = {place: self.trace[key if place[0] == OUTPUT else place[0]].path for place in found}
        return {place: self.to_numpy(leaf, paths[place]) for place, leaf in found.items()}

    def pull_back(
        self,
        key: str,
        inputs: Sequence[np.ndarray],
        forced: Mapping[str, Outputs],
        cotangents: Mapping[Place, np.ndarray],
    ) -> dict[Place, np.ndarray]:
        slots: dict[Place, Slot] = {("input", i): s for i, s in enumerate(self.slots(self._given[key][0]).values())}
        values: dict[Place, np.ndarray] = {("input", i): a for i, a in enumerate(inputs)}
        for child, outputs in forced.items():
            own = self.slots(self._given[child][1])
            slots |= {(child, label): slot for label, slot in own.items()}
            values |= {(child, label): outputs[label] for label in own}
        native = {place: self.to_native(values[place], slot) for place, slot in slots.items()}
        moving = [place for place in slots if self.eps(native[place])]
        asked: list[Place] = []

        def function(model: Any, arrays: list) -> list:
            at = native | dict(zip(moving, arrays, strict=True))
            given = [at["input", i] for i in range(len(inputs))]
            answers = {c: [at[c, label] for label in self.slots(self._given[c][1])] for c in forced}
            found = self._evaluate(model, key, given, answers)
            asked[:] = [p for p, leaf in found.items() if p in cotangents and self.is_array(leaf) and self.eps(leaf)]
            return [found[place] for place in asked]

        def native_cotangents(outputs: list) -> list:
            paths = [self.trace[key if place[0] == OUTPUT else place[0]].path for place in asked]
            return [
                self.to_native(cotangents[place], Slot(self.like(out), self.swap(path, out.ndim)))
                for place, path, out in zip(asked, paths, outputs, strict=True)
            ]

        gradients, parameters = self.vjp(function, [native[place] for place in moving], native_cotangents)
        found: dict[Place, np.ndarray] = {
            place: np.moveaxis(self.numpy(g), 1, -1) if slots[place].swap else self.numpy(g)
            for place, g in zip(moving, gradients, strict=True)
        }
        path, foreign = self.trace[key].path, {self.trace[c].path for c in forced}
        found |= {("parameter", name): g for name, g in _own(parameters, path, foreign)}
        return found

    def differentiate(self, cotangents: Outputs) -> None:
        taps = [
            (key, where, slot)
            for key in self.trace
            for tree, inside in zip(self._given[key], (True, False), strict=True)
            for where, slot in (enumerate(self.slots(tree).values()) if inside else self.slots(tree).items())
        ]
        values: dict[Place, np.ndarray] = {(c.key, i): a for c in self.trace.values() for i, a in enumerate(c.inputs)}
        values |= {(c.key, label): a for c in self.trace.values() for label, a in c.outputs.items()}
        zeros = {(k, w): self.to_native(np.zeros_like(values[k, w]), slot) for k, w, slot in taps}
        taps = [(k, w, slot) for k, w, slot in taps if self.eps(zeros[k, w])]
        order = [(k, w) for k, w, _ in taps]
        labels = [label for label in cotangents if ("", label) in order]
        slots = self.slots(self._given[""][1])

        def function(model: Any, arrays: list) -> list:
            at, counter = dict(zip(order, arrays, strict=True)), Counter()

            def tapped(tree: Any, key: str, by_label: bool) -> Any:
                position = count()

                def tap(label: str, leaf: Any) -> Any:
                    if not self.is_array(leaf):
                        return leaf
                    i = next(position)
                    zero = at.get((key, label if by_label else i))
                    return leaf if zero is None else leaf + zero

                return replace(tree, tap)

            def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
                key = counter(path)
                args, kwargs = tapped((args, kwargs), key, False)
                return tapped(function(*args, **kwargs), key, True)

            with self.around(model, handler):
                output = model(*self._native_inputs())
            return [leaf for label, leaf in leaves(output) if label in labels]

        def native_cotangents(outputs: list) -> list:
            return [self.to_native(cotangents[label], slots[label]) for label in labels]

        gradients, _ = self.vjp(function, [zeros[place] for place in order], native_cotangents)
        for (key, where, slot), gradient in zip(taps, gradients, strict=True):
            array = np.moveaxis(self.numpy(gradient), 1, -1) if slot.swap else self.numpy(gradient)
            if isinstance(where, int):
                self.trace[key].input_gradients[where] = array
            else:
                self.trace[key].output_gradients[where] = array

    def _native_inputs(self) -> list:
        like = self.like(None)
        return [self.to_native(a, Slot(like, self.swap("", a.ndim))) for a in self._inputs]

    def _native_outputs(self, key: str, outputs: Outputs) -> list:
        return [self.to_native(outputs[label], slot) for label, slot in self.slots(self._given[key][1]).items()]

    def _evaluate(self, model: Any, key: str, given: list, forced: Mapping[str, list]) -> dict[Place, Any]:
        """As `run`, on the framework's own arrays, which may be traced."""
        found: dict[Place, Any] = {}
        waiting: dict[str, Iterator[str]] = {}
        inner = within(self.trace, key, set(forced))
        for path in {self.trace[k].path for k in inner}:
            waiting[path] = iter([k for k in inner if self.trace[k].path == path])
        entered = False

        def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
            nonlocal entered
            if not entered:  # the call itself
                entered = True
                return function(*args, **kwargs)
            child = next(waiting.get(path, iter(())), None)
            if child is None or child not in forced:
                return function(*args, **kwargs)
            for i, array in enumerate(self.arrays((args, kwargs))):
                found[child, i] = self.copy(array)
            return self.filled(self._given[child][1], forced[child])

        with self.around(model, handler) as modules:
            args, kwargs = self.filled(self._given[key][0], given)
            output = modules[self.trace[key].path](*args, **kwargs)
        return found | {(OUTPUT, label): leaf for label, leaf in leaves(output) if self.is_value(leaf)}


def _own(parameters: Mapping[str, np.ndarray], path: str, foreign: set[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters below `path` that are not below a foreign one, under names relative to it."""
    prefix = f"{path}." if path else ""
    for name, gradient in parameters.items():
        if name.startswith(prefix) and not any(name.startswith(f"{other}.") for other in foreign):
            yield name.removeprefix(prefix), gradient
