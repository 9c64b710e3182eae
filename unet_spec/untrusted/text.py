"""Foreign texts (names in files, names of files, other programs' errors) as people may see them.

Every text that this project did not write goes through here on its way to a terminal or into Markdown: control
characters become visible escapes, so that it can neither colour, move nor imitate what is printed around it.
"""

from __future__ import annotations

import re

LIMIT = 300
"""Most characters of a message."""

_JOINERS = "\u200c\u200d"  # part of words in several scripts, and of emoji
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$@:]|(?<=www)\.)", re.IGNORECASE)


def visible(text: object) -> str:
    """The text with every character that does not print as a Python escape: no new line, no colour, no direction.

    Example:
        >>> visible("cell\\n\\x1b[31mred"), visible("Zelle 細胞")
        ('cell\\\\n\\\\x1b[31mred', 'Zelle 細胞')
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else ascii(c)[1:-1] for c in text)


def one_line(text: object, limit: int = LIMIT) -> str:
    """`visible`, at most `limit` characters: where it is longer, its beginning and its end.

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
    """`visible`, with Markdown's own characters escaped: no heading, link, picture or HTML comes of it.

    Example:
        >>> markdown("cell <b>")
        'cell \\\\<b\\\\>'
    """
    return _MARKDOWN.sub(r"\\\1", visible(text))


def code(text: object) -> str:
    """As a span of code in Markdown, where nothing can be escaped: without backquotes.

    Example:
        >>> code("model`.onnx")
        "`model'.onnx`"
    """
    return f"`{visible(text).replace('`', chr(39))}`"
