"""Addresses with a query, such as signed URLs: https://host/slide.tif?X-Amz-Signature=…

The query is a secret, and no part of the file's name. So it is taken off where an address enters the program, and kept
in the memory of this process. Paths, messages, results and records have the address without it; only requests have it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_ADDRESS = re.compile(r"(https?:)/+([^?]*)\?(.*)", re.DOTALL)
_WITH_QUERY = re.compile(r"(\w+://[^\s?'\"]+)\?[^\s'\")\]]*")

_queries: dict[str, str] = {}
"""By the address without its query; that of a zarr holds for all files in it."""


def unsigned(path: str | Path) -> Path:
    """A path without the query of an address, which is kept for the requests of this process.

    Example:
        >>> unsigned("https://host/slide.tif?X-Amz-Signature=5e1f")
        PosixPath('https:/host/slide.tif')
    """
    found = _ADDRESS.fullmatch(str(path))
    if found is None:
        return Path(path)
    clean = Path(f"{found[1]}/{found[2]}")
    remember(clean, found[3])
    return clean


def unsigned_word(word: str) -> str:
    """A word of a command line, with `unsigned` applied to an address in it.

    Example:
        >>> unsigned_word("--validate=https://host/a.zarr?sig=5e1f"), unsigned_word("what?")
        ('--validate=https://host/a.zarr', 'what?')
    """
    found = re.fullmatch(r"((?:--[\w-]+=)?)(https?://[^?]+\?.*)", word, re.DOTALL)
    return word if found is None else found[1] + address(unsigned(found[2]))


def address(path: Path) -> str:
    """The URL of a path that represents one."""
    scheme, _, rest = str(path).partition("/")
    return f"{scheme}//{rest.lstrip('/')}"


def remember(path: Path, query: str) -> None:
    """Keeps the query of a path's address. That of a part of a zarr is that of the whole zarr."""
    if query:
        parts = path.parts
        ends = (at + 1 for at, part in enumerate(parts) if part.endswith(".zarr"))
        _queries[address(Path(*parts[: next(ends, len(parts))]))] = query
        if _unlogged not in (log := logging.getLogger("fsspec.http")).filters:
            log.addFilter(_unlogged)


def query_of(path: Path) -> str:
    """The query that requests for a path need; "" if none is known."""
    if not _queries:
        return ""
    url = address(path)
    return next((q for base, q in _queries.items() if url == base or url.startswith(f"{base}/")), "")


def known() -> dict[str, str]:
    """All queries, for another process of the same program: see `adopt`."""
    return dict(_queries)


def adopt(queries: Mapping[str, str]) -> None:
    """Keeps the queries that are `known` in another process."""
    for base, query in queries.items():
        remember(Path(base), query)


def hidden(text: str) -> str:
    """A text, such as the error message of a library, without the queries of addresses in it.

    Example:
        >>> hidden("403, url='https://host/a.tif?sig=5e1f' (denied)")
        "403, url='https://host/a.tif' (denied)"
    """
    return _WITH_QUERY.sub(r"\1", text)


def signed_filesystem(query: str) -> Any:
    """The file system of fsspec for http whose requests have a query. Needs fsspec and aiohttp."""
    return _signed_class()(query)


@cache
def _signed_class() -> Any:
    """One class, since fsspec keeps the instances of a class, and their connections, for the next call."""
    import yarl
    from fsspec.implementations.http import HTTPFileSystem

    class Signed(HTTPFileSystem):
        """Paths are addresses without the query."""

        def __init__(self, query: str = "", **options: Any):
            super().__init__(**options)
            self._query = query

        def encode_url(self, url: Any) -> Any:
            return yarl.URL(f"{super().encode_url(url)}?{self._query}", encoded=True)

    return Signed


def _unlogged(record: logging.LogRecord) -> bool:
    record.msg, record.args = hidden(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = hidden(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None
    return True
