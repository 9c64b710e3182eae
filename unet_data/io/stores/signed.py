"""Addresses with a secret: signed URLs, https://host/slide.tif?X-Amz-Signature=…, and https://user:password@host/a.tif.

The query and the login are secrets, and no part of the file's name. So they are taken off where an address enters the
program, and kept in the memory of this process. Paths, messages, results and records have the address without them;
only requests have them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

_ADDRESS = re.compile(r"(https?:)/+(?:([^/?@]*)@)?([^?]*)(?:\?(.*))?", re.DOTALL)
_WITH_LOGIN = re.compile(r"(\w+:/+)[^\s/?@'\"]*@")
_WITH_QUERY = re.compile(r"(\w+://[^\s?'\"]+)\?[^\s'\")\]]*")


class Secret(NamedTuple):
    """What a request for a file needs besides its address. It is false if there is nothing."""

    login: str = ""
    """user:password, as written in an address."""

    query: str = ""
    """Without its question mark."""

    def __bool__(self) -> bool:
        return any(self)


_secrets: dict[str, Secret] = {}
"""By the address without them; those of a zarr hold for all files in it."""


def unsigned(path: str | Path) -> Path:
    """A path without the query and the login of an address, which are kept for the requests of this process.

    Example:
        >>> unsigned("https://host/slide.tif?X-Amz-Signature=5e1f")
        PosixPath('https:/host/slide.tif')
        >>> unsigned("https://ada:5e1f@host/slide.tif")
        PosixPath('https:/host/slide.tif')
    """
    found = _ADDRESS.fullmatch(str(path))
    if found is None or (found[2] is None and found[4] is None):
        return Path(path)
    clean = Path(f"{found[1]}/{found[3]}")
    remember(clean, Secret(found[2] or "", found[4] or ""))
    return clean


def unsigned_word(word: str) -> str:
    """A word of a command line, with `unsigned` applied to an address in it.

    Example:
        >>> unsigned_word("--validate=https://host/a.zarr?sig=5e1f"), unsigned_word("what?")
        ('--validate=https://host/a.zarr', 'what?')
    """
    found = re.fullmatch(r"((?:--[\w-]+=)?)(https?://(?:[^?]+\?|[^/?]*@).*)", word, re.DOTALL)
    return word if found is None else found[1] + address(unsigned(found[2]))


def address(path: Path) -> str:
    """The URL of a path that represents one."""
    scheme, _, rest = str(path).partition("/")
    return f"{scheme}//{rest.lstrip('/')}"


def remember(path: Path, secret: Secret) -> None:
    """Keeps the secret of a path's address. That of a part of a zarr is that of the whole zarr."""
    if secret:
        parts = path.parts
        ends = (at + 1 for at, part in enumerate(parts) if part.endswith(".zarr"))
        _secrets[address(Path(*parts[: next(ends, len(parts))]))] = secret
        if _unlogged not in (log := logging.getLogger("fsspec.http")).filters:
            log.addFilter(_unlogged)


def secret_of(path: Path) -> Secret:
    """What requests for a path need, as far as it is known."""
    if not _secrets:
        return Secret()
    url = address(path)
    return next((s for base, s in _secrets.items() if url == base or url.startswith(f"{base}/")), Secret())


def known() -> dict[str, Secret]:
    """All secrets, for another process of the same program: see `adopt`."""
    return dict(_secrets)


def adopt(secrets: Mapping[str, Secret]) -> None:
    """Keeps the secrets that are `known` in another process."""
    for base, secret in secrets.items():
        remember(Path(base), secret)


def hidden(text: str) -> str:
    """A text, such as the error message of a library, without the queries and logins of addresses in it.

    Example:
        >>> hidden("403, url='https://host/a.tif?sig=5e1f' (denied)")
        "403, url='https://host/a.tif' (denied)"
    """
    return _WITH_QUERY.sub(r"\1", _WITH_LOGIN.sub(r"\1", text))


def signed_filesystem(secret: Secret) -> Any:
    """The file system of fsspec for http whose requests have a secret. Needs fsspec and aiohttp."""
    return _signed_class()(*secret)


@cache
def _signed_class() -> Any:
    """One class, since fsspec keeps the instances of a class, and their connections, for the next call."""
    import yarl
    from fsspec.implementations.http import HTTPFileSystem

    class Signed(HTTPFileSystem):
        """Paths are addresses without the secret."""

        def __init__(self, login: str = "", query: str = "", **options: Any):
            super().__init__(**options)
            self._login, self._query = login and f"{login}@", query and f"?{query}"

        def encode_url(self, url: Any) -> Any:
            scheme, _, rest = str(super().encode_url(url)).partition("://")
            return yarl.URL(f"{scheme}://{self._login}{rest}{self._query}", encoded=True)

    return Signed


def _unlogged(record: logging.LogRecord) -> bool:
    record.msg, record.args = hidden(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = hidden(logging.Formatter().formatException(record.exc_info))
        record.exc_info = None
    return True
