"""Pairs the calls of two sides."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from unet_spec import InputError

from .sides.trace import Trace, ancestors, within


@dataclass
class Alignment:
    """Pairs of keys (A's to B's), parents first, and the calls without a counterpart."""

    a: Trace
    b: Trace
    pairs: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def children(self, key: str) -> list[str]:
        """A's nearest paired calls within this one, in order."""
        return [k for k in within(self.a, key, set(self.pairs)) if k in self.pairs]

    def unpaired(self) -> tuple[list[str], list[str]]:
        paired = set(self.pairs.values())
        return [k for k in _ordered(self.a) if k not in self.pairs], [k for k in _ordered(self.b) if k not in paired]


def align(a: Trace, b: Trace, names: Mapping[str, str] | None, titles: tuple[str, str]) -> Alignment:
    """Pairs the calls of two traces.

    Args:
        a, b: the traces.
        names: paths in A to paths in B. The longest entry that equals a call's path or one of its prefixes (up to a
            dot) is replaced. Other paths must be equal.
        titles: the names of the sides, for messages.

    Returns:
        The pairs. Several calls of one module are paired in order. Calls stay unpaired, with a note, if their numbers
        of arrays differ or their parent calls are not a pair.

    Raises InputError if `names` has an unknown path, or if there is no pair.
    """
    names = dict(names or {})
    for given, trace, title in ((names, a, titles[0]), (names.values(), b, titles[1])):
        paths = sorted({call.path for call in trace.values()})
        for path in given:
            if path not in paths and not any(p.startswith(f"{path}.") for p in paths):
                close = difflib.get_close_matches(path, paths, 3) or paths[1:6]
                raise InputError(f"names: {title} calls no module {path!r}; near it: {', '.join(map(repr, close))}")
    alignment, back = Alignment(a, b, {"": ""}), {"": ""}
    for key in _ordered(a):
        path, mark, turn = key.partition("#")
        other = _renamed(path, names) + mark + turn
        if not key or other not in b:
            continue
        one, two = a[key], b[other]
        above = next(k for k in ancestors(a, key) if k in alignment.pairs)
        if alignment.pairs[above] != next((k for k in ancestors(b, other) if k in back), None):
            alignment.notes.append(f"{key} is not compared: it is called from different modules in the two networks")
        elif len(one.inputs) != len(two.inputs):
            counts = f"{len(one.inputs)} arrays in {titles[0]}, {len(two.inputs)} in {titles[1]}"
            alignment.notes.append(f"{key} is not compared on its own: its inputs are {counts}")
        elif set(one.outputs) != set(two.outputs):
            labels = " and ".join(
                ", ".join(k or "an array" for k in call.outputs) or "no arrays" for call in (one, two)
            )
            alignment.notes.append(f"{key} is not compared on its own: its outputs are {labels}")
        else:
            alignment.pairs[key], back[other] = other, key
    if len(alignment.pairs) == 1 and len(a) > 1 and len(b) > 1:
        raise InputError(_no_pairs(a, b, titles, alignment.notes))
    return alignment


def _ordered(trace: Trace) -> list[str]:
    return sorted(trace, key=lambda k: trace[k].start)


def _renamed(path: str, names: Mapping[str, str]) -> str:
    prefix = max((n for n in names if path == n or path.startswith(f"{n}.")), key=len, default=None)
    return path if prefix is None else names[prefix] + path[len(prefix) :]


def _no_pairs(a: Trace, b: Trace, titles: tuple[str, str], notes: list[str]) -> str:
    """The error message: the layers of each side, and pairs proposed by order of execution and shape of outputs."""
    leaves = [
        [k for k in _ordered(t) if k and not any(c.parent == k for c in t.values()) and "#" not in k] for t in (a, b)
    ]
    proposal, start = {}, 0
    for key in leaves[0]:
        for i, other in enumerate(leaves[1][start:], start):
            if [o.shape for o in a[key].outputs.values()] == [o.shape for o in b[other].outputs.values()]:
                proposal[key], start = other, i + 1
                break
    lists = [f"{title} has {', '.join(keys[:4])}{', ...' if len(keys) > 4 else ''}" for title, keys in
             zip(titles, leaves, strict=True)]  # fmt: skip
    hint = f"; by order and shape of outputs it might be names={proposal}" if proposal else ""
    why = f" ({notes[0]})" if notes else ""
    return f"no module has the same path on both sides{why}: {'; '.join(lists)}. Give names={{path: path}}{hint}"
