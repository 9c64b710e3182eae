"""Finds the weights in the files of training programs: their entry, their prefix, and other content of the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unet_spec import InputError
from unet_spec.weights.check import first_few

ENTRIES = ("network_weights", "state_dict", "model_state_dict", "model")
"""Names of entries in which training programs store weights, the preferred one first."""
_AVERAGES = ("ema", "swa", "average", "averaged", "teacher", "shadow")
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_USUAL = ("module", "model", "net", "network")
_DEPTH = 3  # maximum depth of nested entries, and of the parts of a prefix

Known = Callable[[Collection[str]], bool]
"""Whether tensor names belong to a supported network."""


@dataclass(frozen=True)
class Found:
    """One set of weights in a file.

    Attributes:
        tensors: Tensors by name, without the prefix.
        entry: Keys of the entry in the file; empty: the top level.
        prefix: Removed prefix of the names, such as "module."; for wrappers inside a name, the wrappers' names.
        others: Other sets of weights, as values of `--key`.
        left_out: Names of other tensors of the entry that belong to no set.
    """

    tensors: dict[str, Any]
    entry: tuple[str, ...] = ()
    prefix: str = ""
    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), repr=False)

    @property
    def label(self) -> str:
        """The value of `--key` for this set."""
        return ".".join([*self.entry, *([self.prefix.rstrip(".")] if self.prefix else [])]) or "."

    def notes(self) -> list[str]:
        """One line per decision."""
        lines = []
        if self.prefix:
            lines.append(f"the prefix {self.prefix!r} of the names is removed")
        if self.others:
            taken = "those at the top" if self.label == "." else self.label
            lines.append(f"the file also contains {', '.join(self.others)}; used: {taken}; --key chooses another")
        if self.left_out:
            lines.append(f"left out, since they do not belong to the network: {first_few(self.left_out)}")
        return lines


def find_weights(values: Mapping[str, Any], known: Known, key: str | None, where: str) -> Found:
    """Finds the weights by their names.

    Args:
        values: Content of a file by name: tensors (any objects with a shape) and mappings of them.
        known: Recognises a network by its tensor names.
        key: Entry or prefix to use. None: weights are preferred to their averages, then the order of ENTRIES applies.
        where: For messages.

    Raises:
        InputError: There are no tensors, or no such key.
    """
    entries = dict(_entries(values))
    candidates = [candidate for entry, tensors in entries.items() for candidate in _recognised(entry, tensors, known)]
    if not candidates:  # not recognised: choose the likeliest set; the caller reports the error
        candidates = [_stripped(entry, tensors) for entry, tensors in entries.items()]
    if not candidates:
        raise InputError(f"{where}: expected a state_dict, a dictionary of tensors; it has {first_few(values, 5)}")
    chosen = min(candidates, key=_preference) if key is None else _by_key(candidates, key, where)
    rest = tuple(
        candidate.label for candidate in candidates if candidate is not chosen and candidate.label != chosen.label
    )
    return Found(chosen.tensors, chosen.entry, chosen.prefix, rest, chosen.left_out)


def _entries(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Every mapping that contains tensors, by its path of keys."""
    if not all(isinstance(name, str) for name in values):
        return  # state of an optimizer
    if tensors := {name: value for name, value in values.items() if hasattr(value, "shape")}:
        yield path, tensors
    for name, value in values.items():
        if isinstance(value, Mapping) and len(path) < _DEPTH:
            yield from _entries(value, (*path, name))


def _recognised(entry: tuple[str, ...], tensors: Mapping[str, Any], known: Known) -> list[Found]:
    """The sets of weights in one mapping, by their prefixes."""
    bare = {name: ".".join(part for part in name.split(".") if part not in _WRAPPERS) for name in tensors}
    wrapped = sorted({part for name in tensors for part in name.split(".")} & set(_WRAPPERS))
    if len(set(bare.values())) < len(bare):
        bare, wrapped = {name: name for name in tensors}, []
    shown = "".join(f"{wrapper}." for wrapper in wrapped)
    hits: list[str] = []
    for prefix in _prefixes(bare.values()):
        names = {name.removeprefix(prefix) for name in bare.values() if name.startswith(prefix)}
        if known(names) or known(_without_modules(names)):
            hits.append(prefix)
    found, taken = [], set()
    for prefix in sorted(hits, key=len, reverse=True):  # inner sets of nested weights first
        inner = {o: n for o, n in bare.items() if n.startswith(prefix) and o not in taken}
        names = {n.removeprefix(prefix): tensors[o] for o, n in inner.items()}
        if not known(names):
            if not known(_without_modules(names)):
                continue
            names = {_without_module(n): t for n, t in names.items()}
        taken |= set(inner)
        first, kept = next(iter(inner)), next(iter(names))
        found.append((first.removesuffix(kept) if first.endswith(kept) else shown + prefix, names))
    left = tuple(name for name in tensors if name not in taken)
    return [Found(names, entry, prefix, left_out=left) for prefix, names in found]


def _prefixes(names: Collection[str]) -> list[str]:
    """ "" and the common prefixes of several names, the shortest first."""
    counts = Counter(
        ".".join(parts[:n]) + "."
        for parts in (name.split(".") for name in names)
        for n in range(1, min(_DEPTH, len(parts) - 1) + 1)
    )
    return ["", *sorted((p for p, count in counts.items() if count > 3), key=lambda p: p.count("."))]


def _without_modules(names: Collection[str]) -> set[str]:
    return {_without_module(name) for name in names}


def _without_module(name: str) -> str:
    """Removes the parts of a name that DistributedDataParallel added inside the network."""
    return ".".join(part for part in name.split(".") if part != "module")


def _stripped(entry: tuple[str, ...], tensors: Mapping[str, Any]) -> Found:
    """Tensors of an unknown network, without the usual prefixes."""
    first, prefix = next(iter(tensors)).split("."), ""
    for part in first[:-1]:
        if part not in (*_WRAPPERS, *_USUAL) or not all(name.startswith(f"{prefix}{part}.") for name in tensors):
            break
        prefix += f"{part}."
    return Found({name.removeprefix(prefix): t for name, t in tensors.items()}, entry, prefix)


def _preference(candidate: Found) -> tuple:
    words = candidate.label.lower().replace("_", ".").replace("-", ".").split(".")
    first = candidate.entry[0] if candidate.entry else ""
    order = ENTRIES.index(first) if first in ENTRIES else len(ENTRIES)
    return any(word in _AVERAGES for word in words), order, -len(candidate.tensors)


def _by_key(candidates: list[Found], key: str, where: str) -> Found:
    key = key.rstrip(".") or "."
    for fits in (
        lambda candidate: candidate.label == key,
        lambda candidate: key in (".".join(candidate.entry), candidate.prefix.rstrip(".")),
        lambda candidate: key in candidate.label.split("."),
    ):
        if matches := [candidate for candidate in candidates if fits(candidate)]:
            return min(matches, key=_preference)
    raise InputError(
        f"{where}: no weights under {key!r}; choices for --key: {', '.join(each.label for each in candidates)}"
    )
