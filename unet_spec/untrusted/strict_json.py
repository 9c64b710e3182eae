"""The reader for all untrusted JSON: config.json, manifests, plans, records, logs, metadata.

It refuses, in one line: a file that is too large, nesting that is too deep, a duplicate name in an object, NaN and
infinity, integers of more than 64 bits, and control characters in strings (except tab and line breaks in values).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import format_bytes

MAX_BYTES = 64 * 2**20
MAX_DEPTH = 64
_ALLOWED = "\t\n\r"


def parse_json(text: str | bytes, where: object, *, finite: bool = True) -> Any:
    """Parses a JSON document.

    Args:
        text: the document, UTF-8.
        where: the file or field, for messages.
        finite: whether to refuse NaN and infinities, which are not JSON but which Python writes.

    Raises:
        InputError: the document is not JSON, or is refused (see above).

    Example:
        >>> parse_json('{"widths": [8, 16]}', "config.json")
        {'widths': [8, 16]}
        >>> parse_json('{"a": 1, "a": 2}', "config.json")
        Traceback (most recent call last):
        unet_spec.errors.InputError: config.json: not valid JSON ('a' occurs twice in one object)
    """
    if len(text) > MAX_BYTES:
        raise InputError(f"{where}: {format_bytes(len(text))} of JSON; at most {format_bytes(MAX_BYTES)} are read")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=lambda number: _real(number, finite),
            parse_constant=lambda number: _real(number, finite),
        )
        _check(value)
    except (ValueError, RecursionError) as e:
        reason = f"nested deeper than {MAX_DEPTH}" if isinstance(e, RecursionError) else e
        raise InputError(f"{where}: not valid JSON ({reason})") from None
    return value


def read_json(path: str | os.PathLike[str], *, finite: bool = True) -> Any:
    """Reads a JSON file with `parse_json`. Raises InputError also if the file cannot be read."""
    return parse_json(read_bytes(path, MAX_BYTES), path, finite=finite)


def read_object(path: str | os.PathLike[str], *, finite: bool = True) -> dict[str, Any]:
    """Reads a JSON file that contains an object. Raises InputError as `read_json`, and for other content."""
    value = read_json(path, finite=finite)
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, not {type(value).__name__}")
    return value


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    """The documents of a file with one per line, each with its line number from 1.

    Lines that are not JSON, such as an incomplete one after a kill, are left out. Raises InputError if the file cannot
    be read.
    """
    for number, line in enumerate(read_bytes(path, 16 * MAX_BYTES).splitlines(), 1):
        try:
            value = parse_json(line, path)
        except InputError:
            continue
        yield number, value


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content of a file of at most `limit` bytes. Raises InputError if it is larger or cannot be read."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(limit + 1)
    except (OSError, ValueError) as e:  # a path with a zero byte is a ValueError
        raise InputError(f"cannot read {path}: {getattr(e, 'strerror', None) or e}") from None
    if len(content) > limit:
        raise InputError(f"{path}: larger than {format_bytes(limit)}, the maximum that is read")
    return content


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{duplicate!r} occurs twice in one object")
    return values


def _whole(text: str) -> int:
    if len(text) > 20 or abs(number := int(text)) >= 2**64:
        raise ValueError(f"the number {text[:20]}… has more than 64 bits")
    return number


def _real(text: str, finite: bool) -> float:
    number = float(text)
    if finite and not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is not finite")
    return number


def _check(document: Any) -> None:
    """Raises ValueError for control characters and deep nesting. It uses no recursion."""
    level, depth = [document], 0
    while level:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value, _ALLOWED)
            elif isinstance(value, dict | list):
                if depth == MAX_DEPTH:
                    raise ValueError(f"nested deeper than {MAX_DEPTH}")
                for name in value if isinstance(value, dict) else ():
                    _check_text(name, "")
                inner.extend(value.values() if isinstance(value, dict) else value)
        level, depth = inner, depth + 1


def _check_text(text: str, allowed: str) -> None:
    if text.isprintable():
        return
    for c in text:
        if (ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000) and c not in allowed:
            raise ValueError(f"the string {text[:40]!r} contains a control character")
