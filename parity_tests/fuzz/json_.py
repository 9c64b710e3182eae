"""JSON: other values, types, depth and size, keys that are missing, doubled or strange, text that is not JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import bytes_
from .bytes_ import CONTROLS, NUMBERS, TEXTS, Change, pick

Place = tuple[Any, Any]
"""A dict or list in the document, and a key or index of it."""


def change(rng: np.random.Generator, data: bytes) -> Change:
    """One change of a JSON document."""
    if rng.random() < 0.12:
        return bytes_.change(rng, data)
    return pick(rng, CHANGES)(rng, json.loads(data))


def places(document: Any) -> list[Place]:
    """Every place of a value."""
    found: list[Place] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((document, key))
        if isinstance(value, dict | list) and value:
            found += places(value)
    return found


def dump(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode("utf-8", "surrogatepass")


def value(rng: np.random.Generator, document: Any) -> Change:
    """Another value of the same kind."""
    at, key = pick(rng, places(document))
    old = at[key]
    if isinstance(old, bool):
        at[key] = not old
    elif isinstance(old, int | float):
        at[key] = pick(rng, (*NUMBERS, float("nan"), float("inf"), -old, old + 1, old * 1000, old / 3))
    elif isinstance(old, str):
        at[key] = pick(rng, (*TEXTS, old + "x", old.upper(), old[:-1], old + pick(rng, CONTROLS)))
    elif isinstance(old, list):
        at[key] = pick(rng, ([], old * 2, old[:-1], old[::-1], old * 1000, [old]))
    else:
        at[key] = pick(rng, ({}, [], None))
    return f"value of {key}", dump(document)


def kind(rng: np.random.Generator, document: Any) -> Change:
    """A value of another kind."""
    at, key = pick(rng, places(document))
    options = (None, True, 0, -1, 1.5, "x", "1", [], {}, [[]], {"a": 1}, [None], list(range(50)), [1, "a", None])
    at[key] = pick(rng, options)
    return f"kind of {key}", dump(document)


def missing(rng: np.random.Generator, document: Any) -> Change:
    at, key = pick(rng, places(document))
    del at[key]
    return f"without {key}", dump(document)


def swapped(rng: np.random.Generator, document: Any) -> Change:
    every = places(document)
    (a, i), (b, j) = pick(rng, every), pick(rng, every)
    try:
        first, second = json.loads(json.dumps((a[i], b[j])))
        a[i], b[j] = second, first
    except (KeyError, IndexError):
        pass
    return f"{i} and {j} swapped", dump(document)


def key(rng: np.random.Generator, document: Any) -> Change:
    """Another name for a key, or a key more."""
    dicts = [document] if isinstance(document, dict) else []
    dicts += [at[k] for at, k in places(document) if isinstance(at[k], dict)]
    if not dicts:
        return value(rng, document)
    at = pick(rng, dicts)
    name = pick(rng, TEXTS)
    if at and rng.random() < 0.5:
        old = pick(rng, list(at))
        at[pick(rng, (name, old + pick(rng, CONTROLS), old + " "))] = at.pop(old)
    else:
        at[name] = pick(rng, (1, "x", [], {}, None))
    return "a key", dump(document)


def deep(rng: np.random.Generator, document: Any) -> Change:
    at, key = pick(rng, places(document))
    at[key] = "@"
    depth = int(pick(rng, (50, 900, 5000, 50_000)))
    start, end = pick(rng, (("[", "]"), ('{"a":', "}")))
    return "deeply nested", dump(document).replace(b'"@"', (start * depth + "1" + end * depth).encode())


def twice(rng: np.random.Generator, document: Any) -> Change:
    """A key that is there twice."""
    text = dump(document).decode("utf-8", "surrogatepass")
    names = re.findall(r'"(?:[^"\\]|\\.)*":', text)
    if not names:
        return value(rng, document)
    name = pick(rng, names)
    return "!a key twice", text.replace(name, f"{name} null, {name}", 1).encode("utf-8", "surrogatepass")


def text(rng: np.random.Generator, document: Any) -> Change:
    """Text that only some readers take for JSON."""
    data = dump(document)
    options = (
        b"\xef\xbb\xbf" + data, data + b"x", data.replace(b":", b"=", 1), data[:-2], data.replace(b"1", b"1e999", 1),
        data.replace(b"1", b"01", 1), data.replace(b'"', b"'", 2), data.decode().encode("utf-16"),
        data.replace(b"1", b"9" * 5000, 1), data.replace(b"a", b"\xff", 1), data + b"\0", b"// c\n" + data, data + data,
        data.replace(b"1", b"NaN", 1), data.replace(b"1", b"-Infinity", 1), b" " * 10**6 + data,
    )  # fmt: skip
    return "text", pick(rng, options)


CHANGES: tuple[Callable[[np.random.Generator, Any], Change], ...] = (
    value, value, value, value, kind, kind, missing, swapped, key, deep, twice, text,
)  # fmt: skip
