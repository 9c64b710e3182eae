"""A network of modules, run call by call: the common part for PyTorch and Flax."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fnmatch import fnmatch
from itertools import count
from typing import Any

import numpy as np

from .capture import Handler
from .trace import INPUT, OUTPUT, PARAMETER, Call, Counter, Feed, Outputs, Place, Side, Trace, leaves, replace, within

Layout = str | Mapping[str, str]


@dataclass(frozen=True)
class Slot:
    """Placeholder for an array in a tree. `like`: dtype and device, from which the framework makes a new array."""

    like: Any


class ModuleSide(Side):
    """Records a module's calls and repeats them. Subclasses define arrays and differentiation."""

    differentiable = True
    channels_first: bool

    def __init__(self, model: Any, name: str, layout: Layout = "channels"):
        self.model, self.name, self.layout = model, name, layout
        self.trace: Trace = {}
        self._trees: dict[str, tuple[Any, Any]] = {}  # arguments and output of each call, Slots for arrays
        self._inputs: list[np.ndarray] = []

    # Depends on the framework

    @abstractmethod
    def around(self, model: Any, handler: Handler) -> AbstractContextManager[Mapping[str, Any]]: ...
    @abstractmethod
    def fresh(self) -> AbstractContextManager[Any]:
        """The model in its initial state."""

    @abstractmethod
    def is_array(self, leaf: Any) -> bool: ...
    @abstractmethod
    def numpy(self, array: Any) -> np.ndarray: ...
    @abstractmethod
    def native(self, array: np.ndarray, like: Any) -> Any: ...
    @abstractmethod
    def like(self, array: Any | None) -> Any:
        """The argument `like` of `native` for such an array; None: for the network's input."""

    @abstractmethod
    def eps(self, array: Any) -> float:
        """Spacing of 1.0 in the array's dtype; 0 for integers."""

    @abstractmethod
    def weights(self, path: str) -> dict[str, tuple[int, ...]]: ...
    @abstractmethod
    def vjp(
        self, function: Callable[[Any, list], list], arrays: list, cotangents: Callable[[list], list]
    ) -> tuple[list, dict[str, np.ndarray]]:
        """Gradients of sum(cotangent · output) of `function(model, arrays)` with respect to `arrays` and every
        parameter (full PyTorch name and axes). `cotangents` makes native cotangents for the outputs. Only floating
        arrays are included."""

    def copy(self, array: Any) -> Any:
        """A copy that code may change in place."""
        return array

    # The same for all frameworks

    def record(self, inputs: Sequence[np.ndarray]) -> Trace:
        counter, clock, stack = Counter(), count(), []
        self.trace, self._inputs = {}, list(inputs)

        def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
            key, parent, start = counter(path), stack[-1] if stack else None, next(clock)
            arrays = [
                self._to_numpy(a, path) for a in self._arrays((args, kwargs))
            ]  # copied before code changes them in place
            arguments = self._emptied((args, kwargs))
            stack.append(key)
            output = function(*args, **kwargs)
            stack.pop()
            self._trees[key] = arguments, self._emptied(output)
            eps = max((self.eps(a) for a in self._arrays((args, kwargs, output))), default=0.0)
            outputs = {label: self._to_numpy(leaf, path) for label, leaf in leaves(output) if self._is_value(leaf)}
            kind, weights = type(modules[path]).__name__, self.weights(path)
            self.trace[key] = Call(key, path, parent, kind, arrays, outputs, weights, eps, start, next(clock))
            return output

        with self.fresh() as model, self.around(model, handler) as modules:
            model(*self._native_inputs())
        return self.trace

    def run(self, key: str, feed: Feed) -> dict[Place, np.ndarray]:
        with self.fresh() as model:
            leaving = self._evaluate(model, key, self._native_feed(key, feed), feed)
        return {place: self._to_numpy(leaf, self._path(key, place)) for place, leaf in leaving.items()}

    def pull_back(self, key: str, feed: Feed) -> dict[Place, np.ndarray]:
        native = self._native_feed(key, feed)
        moving = [place for place, array in native.items() if self.eps(array)]
        weighted: list[Place] = []

        def function(model: Any, arrays: list) -> list:
            leaving = self._evaluate(model, key, native | dict(zip(moving, arrays, strict=True)), feed)
            weighted[:] = [p for p, x in leaving.items() if p in feed.cotangents and self.is_array(x) and self.eps(x)]
            return [leaving[place] for place in weighted]

        def cotangents(outputs: list) -> list:
            return [
                self._to_native(feed.cotangents[place], self.like(output), self._path(key, place))
                for place, output in zip(weighted, outputs, strict=True)
            ]

        gradients, parameters = self.vjp(function, [native[place] for place in moving], cotangents)
        path, foreign = self.trace[key].path, {self.trace[child].path for child in feed.answers}
        by_place: dict[Place, np.ndarray] = {
            place: self._to_numpy(g, self._path(key, place)) for place, g in zip(moving, gradients, strict=True)
        }
        return by_place | {(PARAMETER, name): g for name, g in _own(parameters, path, foreign)}

    def differentiate(self, cotangents: Outputs) -> None:
        """Adds a zero to every input and output of every call; the gradient of the zero is that of the value."""
        zeros: dict[Place, Any] = {}
        for key, call in self.trace.items():
            arguments, output = (_slots(tree) for tree in self._trees[key])
            values = [*zip(range(len(call.inputs)), call.inputs, arguments.values(), strict=True)]
            values += [(label, call.outputs[label], slot) for label, slot in output.items()]
            for where, value, slot in values:
                zeros[key, where] = self._to_native(np.zeros_like(value), slot.like, call.path)
        zeros = {place: zero for place, zero in zeros.items() if self.eps(zero)}
        labels = [label for label in cotangents if ("", label) in zeros]

        def function(model: Any, arrays: list) -> list:
            added, counter = dict(zip(zeros, arrays, strict=True)), Counter()

            def plus_zeros(tree: Any, key: str, by_label: bool) -> Any:
                position = count()

                def plus_zero(label: str, leaf: Any) -> Any:
                    if not self.is_array(leaf):
                        return leaf
                    zero = added.get((key, label if by_label else next(position)))
                    return leaf if zero is None else leaf + zero

                return replace(tree, plus_zero)

            def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
                key = counter(path)
                args, kwargs = plus_zeros((args, kwargs), key, False)
                return plus_zeros(function(*args, **kwargs), key, True)

            with self.around(model, handler):
                output = model(*self._native_inputs())
            return [leaf for label, leaf in leaves(output) if label in labels]

        def native_cotangents(outputs: list) -> list:
            slots = _slots(self._trees[""][1])
            return [self._to_native(cotangents[label], slots[label].like, "") for label in labels]

        gradients, _ = self.vjp(function, list(zeros.values()), native_cotangents)
        for (key, where), gradient in zip(zeros, gradients, strict=True):
            call = self.trace[key]
            by_place: Any = call.input_gradients if isinstance(where, int) else call.output_gradients
            by_place[where] = self._to_numpy(gradient, call.path)

    def _evaluate(self, model: Any, key: str, arrays: Mapping[Place, Any], feed: Feed) -> dict[Place, Any]:
        """Like `run`, on the framework's arrays, which may be traced."""
        leaving: dict[Place, Any] = {}
        waiting: dict[str, Iterator[str]] = {}
        inner = within(self.trace, key, set(feed.answers))
        for path in {self.trace[k].path for k in inner}:
            waiting[path] = iter([k for k in inner if self.trace[k].path == path])
        entered = False

        def filled(tree: Any, name: str) -> Any:
            rest = iter([array for place, array in arrays.items() if place[0] == name])
            return replace(tree, lambda _, leaf: self.copy(next(rest)) if isinstance(leaf, Slot) else leaf)

        def handler(path: str, function: Callable, args: tuple, kwargs: dict) -> Any:
            nonlocal entered
            if not entered:  # the outer call
                entered = True
                return function(*args, **kwargs)
            child = next(waiting.get(path, iter(())), None)
            if child is None or child not in feed.answers:
                return function(*args, **kwargs)
            for i, array in enumerate(self._arrays((args, kwargs))):
                leaving[child, i] = self.copy(array)
            return filled(self._trees[child][1], child)

        with self.around(model, handler) as modules:
            args, kwargs = filled(self._trees[key][0], INPUT)
            output = modules[self.trace[key].path](*args, **kwargs)
        return leaving | {(OUTPUT, label): leaf for label, leaf in leaves(output) if self._is_value(leaf)}

    def _native_feed(self, key: str, feed: Feed) -> dict[Place, Any]:
        """The feed's inputs and recorded outputs as the framework's arrays."""
        path, slots = self.trace[key].path, _slots(self._trees[key][0]).values()
        native: dict[Place, Any] = {
            (INPUT, i): self._to_native(array, slot.like, path)
            for i, (array, slot) in enumerate(zip(feed.inputs, slots, strict=True))
        }
        for child, outputs in feed.answers.items():
            path, own = self.trace[child].path, _slots(self._trees[child][1])
            native |= {(child, label): self._to_native(outputs[label], own[label].like, path) for label in own}
        return native

    def _native_inputs(self) -> list:
        return [self._to_native(array, self.like(None), "") for array in self._inputs]

    def _path(self, key: str, place: Place) -> str:
        """The path of the module that a value belongs to."""
        return self.trace[place[0] if place[0] in self.trace else key].path

    def _swap(self, path: str, dims: int) -> bool:
        """Whether arrays with this number of axes are transposed between channels-first and channels-last at this
        module."""
        layout = self.layout
        if not isinstance(layout, str):
            layout = next((v for pattern, v in layout.items() if fnmatch(path, pattern)), "channels")
        return self.channels_first and layout == "channels" and dims >= 4

    def _to_numpy(self, leaf: Any, path: str) -> np.ndarray:
        array = self.numpy(leaf) if self.is_array(leaf) else np.asarray(leaf)
        return np.moveaxis(array, 1, -1) if self._swap(path, array.ndim) else array

    def _to_native(self, array: np.ndarray, like: Any, path: str) -> Any:
        return self.native(np.moveaxis(array, -1, 1) if self._swap(path, array.ndim) else array, like)

    def _is_value(self, leaf: Any) -> bool:
        return self.is_array(leaf) or isinstance(leaf, int | float)

    def _arrays(self, tree: Any) -> list:
        return [leaf for _, leaf in leaves(tree) if self.is_array(leaf)]

    def _emptied(self, tree: Any) -> Any:
        return replace(tree, lambda _, leaf: Slot(self.like(leaf)) if self.is_array(leaf) else leaf)


def _slots(tree: Any) -> dict[str, Slot]:
    return {label: leaf for label, leaf in leaves(tree) if isinstance(leaf, Slot)}


def _own(parameters: Mapping[str, np.ndarray], path: str, foreign: set[str]) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters below `path` but not below a foreign path, with names relative to `path`."""
    prefix = f"{path}." if path else ""
    for name, gradient in parameters.items():
        if name.startswith(prefix) and not any(name.startswith(f"{other}.") for other in foreign):
            yield name.removeprefix(prefix), gradient
