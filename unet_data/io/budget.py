"""Limits the memory of one image by the size in its header, since a few bytes can claim terabytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from unet_spec.errors import InputError
from unet_spec.files import format_bytes, parse_bytes

from ..memory import available

VARIABLE = "UNET_MEMORY"
PLAUSIBLE = 100
"""Maximum bytes of memory per byte of a file for which the claimed size is plausible."""
DOUBTFUL = 2**30
"""Bytes that an image may need even if its claimed size is not plausible."""

_given: ContextVar[int | None] = ContextVar("memory", default=None)


@contextmanager
def memory_limit(limit: int | None) -> Iterator[None]:
    """Limits each image that is opened in the block to `limit` bytes of memory. None: no change."""
    token = _given.set(limit or _given.get())
    try:
        yield
    finally:
        _given.reset(token)


def check_memory(where: object, needed: int, stored: int, what: str = "its pixels need") -> None:
    """Refuses an image that needs too much memory, before any is allocated.

    The limit is that of `memory_limit`, else the environment variable UNET_MEMORY, else half of the available memory,
    or DOUBTFUL if the file is smaller than a hundredth of the size that it claims.

    Args:
        where: the file, for the message.
        needed: bytes of memory.
        stored: bytes of the file.
        what: subject and verb of the message.

    Raises:
        InputError: the image needs more than the limit.

    Example:
        >>> from unet_data.io.budget import check_memory, memory_limit
        >>> with memory_limit(2**20):
        ...     check_memory("a.png", needed=2**19, stored=2**16)
    """
    given = _given.get()
    if given is None and (text := os.environ.get(VARIABLE)):
        given = parse_bytes(text)
    limit, why = given, "the given limit"
    if limit is None:
        limit, why = available() // 2, "half of the free memory"
        if needed > PLAUSIBLE * stored and limit > DOUBTFUL:
            limit, why = DOUBTFUL, f"the limit for a file of {format_bytes(stored)}"
    if needed > limit:
        raise InputError(
            f"{where}: {what} {format_bytes(needed)} of memory, more than {format_bytes(limit)}, {why}; "
            f"{VARIABLE}={format_bytes(needed).replace(' ', '')} allows it, if the file is not damaged"
        )
