"""Two sides, compared call by call: what each module's own code makes of the other side's values.

A module's own code is what it does itself, outside of the modules within it that have a counterpart: those are not
called but answered with the other side's outputs. A layer is the case without any. So every operation of the network is
in the own code of exactly one module, and an error is found where it is made: in a layer, or in what a block does
between its layers (a crop, a concatenation, a forgotten activation).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from unet_spec import InputError
from unet_tools.diff.align import Alignment, align
from unet_tools.diff.bounds import bound, fan_in, fan_out, furthest, magnitude, perturbed, positions
from unet_tools.diff.report import Direction, Reading, Report, Step
from unet_tools.diff.trace import OUTPUT, Call, Outputs, Place, Side, within

Run = Callable[[], dict[Place, np.ndarray]]


def compare(
    a: Side,
    b: Side,
    inputs: Sequence[np.ndarray],
    *,
    names: Mapping[str, str] | None = None,
    backward: bool = False,
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Runs both sides on `inputs` (channels last) and compares them. Errors are A's, relative to B.

    backward: compares gradients, too, of the loss sum(r · output), r drawn from N(0, 1) by `seed`. tolerance: relative
    to the largest value of each tensor, in place of the bounds of `unet_tools.diff.bounds`.

    Raises InputError where `align` does, where backward is asked of a side that has none, and where outputs of the two
    networks, which must be weighted alike, differ in shape.
    """
    if tolerance is not None and not tolerance >= 0:
        raise InputError(f"tolerance is {tolerance}; it must be a relative error, 0 or more")
    for side in (a, b):
        if backward and not side.differentiable:
            raise InputError(f"{side.name} has no backward pass; compare jax with torch")
    traces = a.record(inputs), b.record(inputs)
    pairs = align(*traces, names, (a.name, b.name))
    steps = _marked(_Pass(a, b, pairs, tolerance).forward())
    if backward:
        tops = _cotangents(*traces, seed)
        a.differentiate(tops)
        b.differentiate(tops)
        steps += _marked(_Pass(a, b, pairs, tolerance).backward())
    lonely = {}
    for side, other, keys in zip((a, b), (b, a), pairs.unpaired(), strict=True):
        holders = {call.parent for call in (traces[0] if side is a else traces[1]).values()}
        lonely[side.name] = [k for k in keys if not (other.flat and k in holders)]
    eps = max(trace[""].eps for trace in traces)
    return Report(a.name, b.name, eps, tuple(steps), lonely, tuple(pairs.notes))


def _cotangents(a: Mapping[str, Call], b: Mapping[str, Call], seed: int) -> Outputs:
    outputs, others, rng = a[""].outputs, b[""].outputs, np.random.default_rng(seed)
    shapes = [{label: o.shape for label, o in side.items() if o.dtype.kind == "f"} for side in (outputs, others)]
    if shapes[0] != shapes[1] or not shapes[0]:
        raise InputError(f"backward needs outputs of equal shapes; they are {shapes[0]} and {shapes[1]}")
    return {label: rng.normal(size=shape) for label, shape in shapes[0].items()}


def _marked(steps: list[Step]) -> list[Step]:
    """With verdicts. Before the first step with an error of its own, there is nothing to inherit but rounding."""
    blamed, marked = False, []
    for step in steps:
        own = any(r.differs for r in step.readings)
        inherits = blamed and any(not r.total <= r.bound for r in step.readings)
        blamed = blamed or own
        marked.append(replace(step, verdict="differs" if own else "inherited" if inherits else "same"))
    return marked


class _Pass:
    """Walks the pairs. Steps come with the moment that they belong to, and are sorted by it."""

    def __init__(self, a: Side, b: Side, pairs: Alignment, tolerance: float | None):
        self.a, self.b, self.pairs, self.tolerance = a, b, pairs, tolerance
        self.rng = np.random.default_rng(0)

    def forward(self) -> list[Step]:
        return self._sorted([step for key in self.pairs.pairs for step in self._forward(key)])

    def backward(self) -> list[Step]:
        return self._sorted([step for key in self.pairs.pairs for step in self._backward(key)], reverse=True)

    def _sorted(self, timed: list[tuple[float, Step]], reverse: bool = False) -> list[Step]:
        return [step for _, step in sorted(timed, key=lambda pair: pair[0], reverse=reverse)]

    def _forward(self, key: str) -> list[tuple[float, Step]]:
        one, two, children = self._calls(key)
        mine, theirs = self._values(one, children, 0), self._values(two, children, 1)
        eps, given, forced = max(one.eps, two.eps), two.inputs, {c: self._other(c).outputs for c in children}
        own, moved, note = _attempt(
            lambda: self.a.run(key, given, forced),
            lambda: self.a.run(key, self._perturbed(given, eps), self._perturbed_outputs(forced, eps)),
            lambda: self.a.run(key, one.inputs, {c: self.pairs.a[c].outputs for c in children}),
        )
        terms = fan_in(self._inside(key))
        groups: dict[str, list[Reading]] = {}
        for place, wanted in theirs.items():
            what = f"output{place[1]}" if place[0] == OUTPUT else f"input {place[1]} of {place[0]}"
            reading = self._reading(what, wanted, mine.get(place), own.get(place), moved.get(place), terms, eps, note)
            groups.setdefault(place[0], []).append(reading)
        groups |= {OUTPUT: groups.get(OUTPUT, []) + [_extra(place) for place in mine if place not in theirs]}
        timed = []
        for child, readings in groups.items():
            place = ("→ its output" if children else "") if child == OUTPUT else f"→ {child}"
            moment = one.end if child == OUTPUT else self.pairs.a[child].start
            if readings:
                timed.append((moment, self._step(one, two, "forward", place, readings)))
        return timed

    def _backward(self, key: str) -> list[tuple[float, Step]]:
        one, two, children = self._calls(key)
        eps, given, forced = max(one.eps, two.eps), two.inputs, {c: self._other(c).outputs for c in children}
        tops, others = self._cotangents(one, children, 0), self._cotangents(two, children, 1)
        mine_forced = {c: self.pairs.a[c].outputs for c in children}
        other_forced = {self.pairs.pairs[c]: outputs for c, outputs in forced.items()}
        back = {self.pairs.pairs[c]: c for c in children}
        other_tops = {(self.pairs.pairs.get(place[0], place[0]), place[1]): top for place, top in others.items()}

        def perturbed_run() -> dict[Place, np.ndarray]:
            moved_tops = {place: perturbed(top, eps, self.rng) for place, top in others.items()}
            return self.a.pull_back(key, self._perturbed(given, eps), self._perturbed_outputs(forced, eps), moved_tops)

        def again() -> dict[Place, np.ndarray]:
            return self.a.pull_back(key, one.inputs, mine_forced, tops)

        mine = again()
        found = self.b.pull_back(two.key, given, other_forced, other_tops)
        theirs = {(back.get(place[0], place[0]), place[1]): gradient for place, gradient in found.items()}
        own, moved, note = _attempt(lambda: self.a.pull_back(key, given, forced, others), perturbed_run, again)
        inside = self._inside(key)
        groups: dict[str, list[Reading]] = {}
        for place in [*theirs, *(p for p in mine if p not in theirs)]:
            wanted, of_weight = theirs.get(place), place[0] == "parameter"
            if of_weight and (wanted is None or place not in mine or wanted.shape != mine[place].shape):
                self.pairs.notes.append(
                    f"gradient of {key}.{place[1]} is not compared: no parameter of that name and shape in both"
                )
                continue
            what = f"gradient of {'input ' if place[0] == 'input' else ''}{place[1]}"
            if place[0] in forced:
                what = f"gradient of the output{place[1]} of {place[0]}"
            terms = positions(inside) if of_weight else fan_out(inside)
            if wanted is None:
                groups.setdefault("", []).append(_extra(place))
                continue
            reading = self._reading(what, wanted, mine.get(place), own.get(place), moved.get(place), terms, eps, note)
            groups.setdefault(place[0] if place[0] in forced else "", []).append(reading)
        timed = []
        for child, readings in groups.items():
            place = f"→ gradient of {child}" if child else "→ gradient of its input" if children else ""
            moment = self.pairs.a[child].end + 0.5 if child else one.start
            timed.append((moment, self._step(one, two, "backward", place, readings)))
        return timed

    def _calls(self, key: str) -> tuple[Call, Call, list[str]]:
        return self.pairs.a[key], self._other(key), self.pairs.children(key)

    def _other(self, key: str) -> Call:
        return self.pairs.b[self.pairs.pairs[key]]

    def _inside(self, key: str) -> list[Call]:
        """The calls, on both sides, that make up a module's own code."""
        found = []
        for trace, own, paired in (
            (self.pairs.a, key, set(self.pairs.pairs)),
            (self.pairs.b, self.pairs.pairs[key], set(self.pairs.pairs.values())),
        ):
            inner = [k for k in within(trace, own, paired) if k not in paired]
            holder = any(call.parent == own for call in trace.values())
            found.append([trace[k] for k in inner] + ([] if holder else [trace[own]]))
        return max(found, key=fan_in)

    def _values(self, call: Call, children: list[str], side: int) -> dict[Place, np.ndarray]:
        values: dict[Place, np.ndarray] = {}
        for child in children:
            inner = self.pairs.a[child] if side == 0 else self._other(child)
            values |= {(child, i): array for i, array in enumerate(inner.inputs)}
        return values | {(OUTPUT, label): array for label, array in call.outputs.items()}

    def _cotangents(self, call: Call, children: list[str], side: int) -> dict[Place, np.ndarray]:
        tops: dict[Place, np.ndarray] = {}
        for child in children:
            inner = self.pairs.a[child] if side == 0 else self._other(child)
            tops |= {(child, i): gradient for i, gradient in inner.input_gradients.items()}
        return tops | {(OUTPUT, label): gradient for label, gradient in call.output_gradients.items()}

    def _perturbed(self, arrays: Sequence[np.ndarray], eps: float) -> list[np.ndarray]:
        return [perturbed(array, eps, self.rng) for array in arrays]

    def _perturbed_outputs(self, forced: Mapping[str, Outputs], eps: float) -> dict[str, Outputs]:
        return {k: {label: perturbed(o, eps, self.rng) for label, o in outs.items()} for k, outs in forced.items()}

    def _reading(
        self,
        what: str,
        wanted: np.ndarray,
        mine: np.ndarray | None,
        own: np.ndarray | None,
        moved: np.ndarray | None,
        terms: int,
        eps: float,
        note: str,
    ) -> Reading:
        if mine is None or own is None:
            told = note or "has no counterpart"
            return Reading(what, math.inf, math.inf, math.inf, 0.0, math.inf, math.inf, told)
        if own.shape != wanted.shape:
            note = f"shapes {own.shape} and {wanted.shape}"
        scale = magnitude(wanted) or magnitude(own) or 1.0
        errors = furthest(own, wanted), furthest(mine, own), furthest(mine, wanted)
        ulp = eps * 2.0 ** math.floor(math.log2(scale)) if eps else 1.0
        if self.tolerance is not None:
            most = self.tolerance
        else:
            response = furthest(moved, own) if moved is not None else 0.0
            response = response if math.isfinite(response) else 0.0
            most = bound(response, magnitude(own), terms, own.size, eps) / scale
        relative = [error / scale for error in errors]
        return Reading(what, relative[0], relative[1], relative[2], most, errors[0] / ulp, errors[2] / ulp, note)

    def _step(self, one: Call, two: Call, direction: Direction, place: str, readings: list[Reading]) -> Step:
        kind = one.kind if one.kind == two.kind else f"{one.kind} / {two.kind}"
        return Step(one.key, two.key, kind, direction, place, tuple(readings))


def _attempt(run: Run, run_perturbed: Run, run_again: Run) -> tuple[dict, dict, str]:
    """Both results; or none, and why: a layer that cannot be run on what its counterpart is given is another layer,
    whatever the framework raises. What cannot even be run again on its own input is no finding but an error."""
    try:
        return run(), run_perturbed(), ""
    except Exception as e:
        run_again()
        first = (str(e).strip().splitlines() or [type(e).__name__])[0]
        return {}, {}, f"cannot run on the other side's input: {first}"


def _extra(place: Place) -> Reading:
    what = f"output{place[1]}" if place[0] == OUTPUT else f"gradient of {place[0]} {place[1]}"
    return Reading(what, math.inf, math.inf, math.inf, 0.0, math.inf, math.inf, "has no counterpart")
