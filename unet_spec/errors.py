"""The exceptions whose messages are written for users, and helpers for these messages."""

from __future__ import annotations

from collections.abc import Iterable

from .untrusted.text import one_line


class InputError(ValueError):
    """An input is wrong: a file, a size, a dtype, a setting.

    The message is one line that says what is wrong, where, and what would be right. The command line prints it without
    a traceback and ends with exit code 2; any other exception is a bug in this package. Since messages quote names from
    files, `str` makes control characters visible as escapes and cuts the line to 300 characters.

    Example:
        >>> from unet_spec import preset
        >>> try:
        ...     preset("papers")
        ... except InputError as e:
        ...     print(e)
        unknown preset 'papers'; known: paper, ...; did you mean 'paper'?
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class OutputError(InputError):
    """A result cannot be written: the disk is full, read-only or gone. The command ends with exit code 1.

    Example:
        >>> raise OutputError("cannot write out.tif: No space left on device")
        Traceback (most recent call last):
        unet_spec.errors.OutputError: cannot write out.tif: No space left on device
    """


def suggestion(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the most similar known name, if there is one.

    Example:
        >>> suggestion("papers", ["paper", "same"])
        "; did you mean 'paper'?"
    """
    from difflib import get_close_matches

    close = get_close_matches(str(name), known, 1)
    return f"; did you mean {close[0]!r}?" if close else ""
