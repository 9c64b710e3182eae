"""Makes untrusted texts (names in files, file names, errors of other programs) safe to print.

Every text that this project did not write is converted here before it is printed or written as Markdown. Control
characters become visible escapes, so that the text cannot change or imitate other output.
"""

from __future__ import annotations

import re

LIMIT = 300
"""Maximum number of characters of a message."""

_JOINERS = "\u200c\u200d"  # they occur in words of several scripts, and in emoji
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@:]|(?<=www)\.)", re.IGNORECASE)


def visible(text: object) -> str:
    """The text with every non-printable character (line breaks, colours, text direction) as a Python escape.

    Example:
        >>> visible("cell\\n\\x1b[31mred"), visible("Zelle 細胞")
        ('cell\\\\n\\\\x1b[31mred', 'Zelle 細胞')
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else ascii(c)[1:-1] for c in text)


def one_line(text: object, limit: int = LIMIT) -> str:
    """`visible`, shortened to its beginning and end if it is longer than `limit` characters.

    Example:
        >>> one_line("a" * 50 + "b" * 50, limit=20)
        'aaaaaaaaaaa … bbbbbb'
    """
    text = str(text)
    if len(text) <= limit and (text := visible(text)) and len(text) <= limit:
        return text
    end = limit // 3
    first = visible(text[:limit])[: limit - end - 3]
    return f"{first} … {visible(text[-limit:])[-end:]}"


def markdown(text: object) -> str:
    """`visible`, with Markdown's special characters escaped, so that it makes no heading, link, picture or HTML.

    Example:
        >>> markdown("cell <b>")
        'cell \\\\<b\\\\>'
    """
    return _MARKDOWN.sub(r"\\\1", visible(text))


def code(text: object) -> str:
    """The text as inline code in Markdown. Backquotes are replaced, since they cannot be escaped there.

    Example:
        >>> code("model`.onnx")
        "`model'.onnx`"
    """
    return f"`{visible(text).replace('`', chr(39))}`"
