"""Which call of one side is which call of the other."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

from unet_spec import InputError
from unet_tools.diff.trace import Trace, ancestors, within


@dataclass
class Alignment:
    """Pairs of keys (A's to B's), parents first, and the calls that have no counterpart."""

    a: Trace
    b: Trace
    pairs: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def children(self, key: str) -> list[str]:
        """A's paired calls next below this one, in order."""
        return [k for k in within(self.a, key, set(self.pairs)) if k in self.pairs]

    def unpaired(self) -> tuple[list[str], list[str]]:
        paired = set(self.pairs.values())
        return [k for k in _ordered(self.a) if k not in self.pairs], [k for k in _ordered(self.b) if k not in paired]


def align(a: Trace, b: Trace, names: Mapping[str, str] | None, titles: tuple[str, str]) -> Alignment:
    """Pairs calls of equal path, or of paths that `names` (A's to B's) makes equal: the longest entry that is the path
    or the beginning of it (up to a dot) is replaced. Of several calls of one module, the first belongs to the first.

    Calls are not paired where their arrays differ in number, or where the modules that they are made in do not belong
    together; a note says so. Raises InputError where `names` has a path that is not there, and where nothing is paired.
    """
    names = dict(names or {})
    for asked, trace, title in ((names, a, titles[0]), (names.values(), b, titles[1])):
        paths = sorted({call.path for call in trace.values()})
        for path in asked:
            if path not in paths and not any(p.startswith(f"{path}.") for p in paths):
                close = difflib.get_close_matches(path, paths, 3) or paths[1:6]
                raise InputError(f"names: {title} calls no module {path!r}; near it: {', '.join(map(repr, close))}")
    found, back = Alignment(a, b, {"": ""}), {"": ""}
    for key in _ordered(a):
        path, mark, turn = key.partition("#")
        other = _renamed(path, names) + mark + turn
        if not key or other not in b:
            continue
        one, two = a[key], b[other]
        above = next(k for k in ancestors(a, key) if k in found.pairs)
        if found.pairs[above] != next((k for k in ancestors(b, other) if k in back), None):
            found.notes.append(f"{key} is not compared: it is called from modules that do not belong together")
        elif len(one.inputs) != len(two.inputs):
            counts = f"{len(one.inputs)} arrays in {titles[0]}, {len(two.inputs)} in {titles[1]}"
            found.notes.append(f"{key} is not compared by itself: it is given {counts}")
        elif set(one.outputs) != set(two.outputs):
            found.notes.append(f"{key} is not compared by itself: its outputs are {_told(one)} and {_told(two)}")
        else:
            found.pairs[key], back[other] = other, key
    if len(found.pairs) == 1 and len(a) > 1 and len(b) > 1:
        raise InputError(_nothing(a, b, titles, found.notes))
    return found


def _ordered(trace: Trace) -> list[str]:
    return sorted(trace, key=lambda k: trace[k].start)


def _renamed(path: str, names: Mapping[str, str]) -> str:
    prefix = max((n for n in names if path == n or path.startswith(f"{n}.")), key=len, default=None)
    return path if prefix is None else names[prefix] + path[len(prefix) :]


def _told(call) -> str:
    return ", ".join(label or "an array" for label in call.outputs) or "no arrays"


def _nothing(a: Trace, b: Trace, titles: tuple[str, str], notes: list[str]) -> str:
    """Nothing fits: say what there is, and propose pairs of layers in order of execution with outputs of one shape."""
    leaves = [
        [k for k in _ordered(t) if k and not any(c.parent == k for c in t.values()) and "#" not in k] for t in (a, b)
    ]
    proposal, start = {}, 0
    for key in leaves[0]:
        for i, other in enumerate(leaves[1][start:], start):
            if [o.shape for o in a[key].outputs.values()] == [o.shape for o in b[other].outputs.values()]:
                proposal[key], start = other, i + 1
                break
    told = [f"{title} has {', '.join(some[:4])}{', ...' if len(some) > 4 else ''}" for title, some in
            zip(titles, leaves, strict=True)]  # fmt: skip
    hint = f"; by order and shape of outputs it might be names={proposal}" if proposal else ""
    why = f" ({notes[0]})" if notes else ""
    return f"no module has the same path on both sides{why}: {'; '.join(told)}. Give names={{path: path}}{hint}"
