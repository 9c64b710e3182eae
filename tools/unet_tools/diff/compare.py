"""Compares two networks call by call: runs each module's own code on the other side's values. README.md explains the
method.

Side A is the candidate, side B the reference. The *own code* of a module is its code outside of its children, the
submodules that have a counterpart. Children are not run; their recorded outputs are returned instead. Values at a
`Place` leave the own code: they go to a child, or they are the output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unet_spec import InputError
from unet_spec.weights.check import all_finite

from .align import Alignment, align
from .bounds import bound, fan_in, fan_out, largest_error, magnitude, perturbed, positions
from .result import Comparison, Direction, Reading, Step
from .sides.trace import INPUT, OUTPUT, PARAMETER, Call, Feed, Outputs, Place, Side, Trace, within

Values = dict[Place, np.ndarray]


def compare(
    a: Side,
    b: Side,
    inputs: Sequence[np.ndarray],
    *,
    names: Mapping[str, str] | None = None,
    backward: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
) -> Comparison:
    """Runs both sides on the same inputs and compares them, forward and, if requested, backward.

    Args:
        a: the candidate. Errors are A's, relative to B.
        b: the reference.
        inputs: arrays, channels last.
        names: paths in A to paths in B, if they differ; see `align`.
        backward: also compare gradients, of the loss sum(r · output), r drawn from N(0, 1).
        tolerance: bound relative to the largest value of each tensor, instead of the bounds of
            `unet_tools.diff.bounds`.
        seed: seed of r.

    Returns:
        A step for each module's own code, in the order of execution.

    Raises InputError like `align`, if a side has no backward pass, and, with `backward`, if the outputs of the networks
    differ in shape.
    """
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"tolerance is {tolerance}; it must be a relative error, 0 or more")
    for side in (a, b):
        if backward and not side.differentiable:
            raise InputError(f"{side.name} has no backward pass; compare jax with torch")
    traces = a.record(inputs), b.record(inputs)
    pairs = align(*traces, names, (a.name, b.name))
    steps = _with_verdicts(_Pass(a, b, pairs, tolerance, "forward").steps())
    if backward:
        cotangents = _random_cotangents(*traces, seed)
        a.differentiate(cotangents)
        b.differentiate(cotangents)
        steps += _with_verdicts(_Pass(a, b, pairs, tolerance, "backward").steps())
    unmatched = {}
    for side, other, trace, keys in zip((a, b), (b, a), traces, pairs.unpaired(), strict=True):
        holders = {call.parent for call in trace.values()}
        unmatched[side.name] = [k for k in keys if not (other.flat and k in holders)]
    eps = max(trace[""].eps for trace in traces)
    return Comparison(a.name, b.name, eps, tuple(steps), unmatched, tuple(pairs.notes))


def _random_cotangents(a: Trace, b: Trace, seed: int) -> Outputs:
    shapes = [{k: o.shape for k, o in trace[""].outputs.items() if o.dtype.kind == "f"} for trace in (a, b)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise InputError(f"backward needs outputs of equal shapes; they are {shapes[0]} and {shapes[1]}")
    rng = np.random.default_rng(seed)
    return {label: rng.normal(size=shape) for label, shape in shapes[0].items()}


def _with_verdicts(steps: list[Step]) -> list[Step]:
    """Adds the verdicts. Before the first step that differs, steps can inherit only rounding errors."""
    seen, result = False, []
    for step in steps:
        own = any(r.differs for r in step.readings)
        inherits = seen and any(not r.total <= r.bound for r in step.readings)
        seen = seen or own
        result.append(replace(step, verdict="differs" if own else "inherited" if inherits else "same"))
    return result


@dataclass(frozen=True)
class _Results:
    """Values that leave a module's own code, by place (with A's names).

    Attributes:
        candidate, reference: values of each side, computed from its own values.
        swapped: result of the candidate's code on the reference's values. Its distance from `reference` is the own
            error.
        perturbed: like `swapped`, with every input value changed by one unit in the last place.
        note: reason why the last two are empty.
    """

    candidate: Values
    reference: Values
    swapped: Values
    perturbed: Values
    note: str


class _Pass:
    """One pass over the pairs of calls, forward or backward."""

    def __init__(self, a: Side, b: Side, pairs: Alignment, tolerance: float | None, direction: Direction):
        self.a, self.b, self.pairs, self.tolerance = a, b, pairs, tolerance
        self.direction: Direction = direction
        self.backward = direction == "backward"
        self.rng = np.random.default_rng(0)

    def steps(self) -> list[Step]:
        timed = [pair for key in self.pairs.pairs for pair in self._steps_of(key)]
        return [step for _, step in sorted(timed, key=lambda pair: pair[0], reverse=self.backward)]

    def _steps_of(self, key: str) -> list[tuple[float, Step]]:
        """The steps of one module's own code, each with its time: one for every child that receives values or returns
        gradients, and one ("") for the output or the input's gradient."""
        a, b = self.pairs.a[key], self.pairs.b[self.pairs.pairs[key]]
        children, results = self.pairs.children(key), self._results(key)
        inside, eps = self._inside(key), max(a.eps, b.eps)
        groups: dict[str, list[Reading]] = {}
        for place in dict.fromkeys((*results.reference, *results.candidate)):
            if place[0] == PARAMETER and _shape(results.reference, place) != _shape(results.candidate, place):
                self.pairs.notes.append(
                    f"gradient of {key}.{place[1]} is not compared: no parameter of that name and shape in both"
                )
                continue
            terms = fan_in(inside)
            if self.backward:
                terms = positions(inside) if place[0] == PARAMETER else fan_out(inside)
            child = place[0] if place[0] in children else ""
            groups.setdefault(child, []).append(self._reading(place, results, terms, eps))
        kind = a.kind if a.kind == b.kind else f"{a.kind} / {b.kind}"
        return [
            (
                self._moment(child, a),
                Step(a.key, b.key, kind, self.direction, self._label(child, children), tuple(readings)),
            )
            for child, readings in groups.items()
        ]

    def _moment(self, child: str, call: Call) -> float:
        if self.backward:
            return self.pairs.a[child].end + 0.5 if child else call.start
        return self.pairs.a[child].start if child else call.end

    def _label(self, child: str, children: list[str]) -> str:
        own = ("gradient of its input" if self.backward else "its output") if children else ""
        name = (f"gradient of {child}" if self.backward else child) if child else own
        return f"→ {name}" if name else ""

    def _results(self, key: str) -> _Results:
        a, other = self.pairs.a, self.pairs.pairs[key]
        children = {child: child for child in self.pairs.children(key)}
        others = {child: self.pairs.pairs[child] for child in children}
        feed, other_feed = _feed(a, key, children), _feed(self.pairs.b, other, others)

        def run(feed: Feed) -> Values:
            return self.a.pull_back(key, feed) if self.backward else self.a.run(key, feed)

        if self.backward:
            candidate = run(feed)
            own_names = {name: name for name in others.values()}
            gradients = self.b.pull_back(other, _feed(self.pairs.b, other, own_names))
            back = {name: child for child, name in others.items()}
            reference = {(back.get(name, name), where): g for (name, where), g in gradients.items()}
        else:
            candidate, reference = _leaving(a, key, children), _leaving(self.pairs.b, other, others)
        eps = max(a[key].eps, self.pairs.b[other].eps)
        try:
            return _Results(candidate, reference, run(other_feed), run(self._perturbed(other_feed, eps)), "")
        except Exception as e:  # any framework error: the layer accepts other inputs than its counterpart
            run(feed)  # if it also fails on its own input, this is an error, not a difference
            first = (str(e).strip().splitlines() or [type(e).__name__])[0]
            return _Results(candidate, reference, {}, {}, f"cannot run on the other side's input: {first}")

    def _perturbed(self, feed: Feed, eps: float) -> Feed:
        def move(array: np.ndarray) -> np.ndarray:
            return perturbed(array, eps, self.rng)

        answers = {k: {label: move(o) for label, o in outputs.items()} for k, outputs in feed.answers.items()}
        return Feed([move(x) for x in feed.inputs], answers, {p: move(g) for p, g in feed.cotangents.items()})

    def _inside(self, key: str) -> list[Call]:
        """The calls of a module's own code, on the side with the larger fan-in."""
        sides = []
        for trace, own, paired in (
            (self.pairs.a, key, set(self.pairs.pairs)),
            (self.pairs.b, self.pairs.pairs[key], set(self.pairs.pairs.values())),
        ):
            inner = [k for k in within(trace, own, paired) if k not in paired]
            holder = any(call.parent == own for call in trace.values())
            sides.append([trace[k] for k in inner] + ([] if holder else [trace[own]]))
        return max(sides, key=fan_in)

    def _reading(self, place: Place, results: _Results, terms: int, eps: float) -> Reading:
        """Compares one tensor. terms: number of terms in the sum for one of its values. eps: spacing of 1.0 in its
        dtype."""
        what = self._what(place)
        candidate, reference, swapped, moved = (
            values.get(place) for values in (results.candidate, results.reference, results.swapped, results.perturbed)
        )
        if reference is None or candidate is None or swapped is None:
            return Reading.missing(what, results.note or "has no counterpart")
        if not all_finite(reference) and largest_error(candidate, reference) == 0:
            return Reading.missing(what, "NaN or infinite on both sides")
        note = "" if swapped.shape == reference.shape else f"shapes {swapped.shape} and {reference.shape}"
        scale = magnitude(reference) or magnitude(swapped) or 1.0
        own, total = largest_error(swapped, reference), largest_error(candidate, reference)
        inherited = largest_error(candidate, swapped) / scale
        ulp = eps * 2.0 ** math.floor(math.log2(scale)) if eps else 1.0
        allowed = self.tolerance
        if allowed is None:
            response = largest_error(moved, swapped) if moved is not None else 0.0
            response = response if math.isfinite(response) else 0.0
            allowed = bound(response, magnitude(swapped), terms, swapped.size, eps) / scale
        return Reading(what, own / scale, inherited, total / scale, allowed, own / ulp, total / ulp, note)

    def _what(self, place: Place) -> str:
        name, where = place
        if not self.backward:
            return f"output{where}" if name == OUTPUT else f"input {where} of {name}"
        if name == PARAMETER:
            return f"gradient of {where}"
        return f"gradient of input {where}" if name == INPUT else f"gradient of the output{where} of {name}"


def _feed(trace: Trace, key: str, children: Mapping[str, str]) -> Feed:
    """The recorded inputs of a call and outputs of its children. children: name in the feed to key in the trace."""
    inner = {name: trace[k] for name, k in children.items()}
    cotangents: Values = {(name, i): g for name, call in inner.items() for i, g in call.input_gradients.items()}
    cotangents |= {(OUTPUT, label): g for label, g in trace[key].output_gradients.items()}
    return Feed(trace[key].inputs, {name: call.outputs for name, call in inner.items()}, cotangents)


def _leaving(trace: Trace, key: str, children: Mapping[str, str]) -> Values:
    """The recorded values that left a call's own code. children: as in `_feed`."""
    values: Values = {(name, i): array for name, k in children.items() for i, array in enumerate(trace[k].inputs)}
    return values | {(OUTPUT, label): array for label, array in trace[key].outputs.items()}


def _shape(values: Values, place: Place) -> tuple[int, ...] | None:
    return values[place].shape if place in values else None
