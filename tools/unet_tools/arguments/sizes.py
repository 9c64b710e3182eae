"""Sizes on the command line: one number for all axes, or one per axis, such as 20x128x128."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

Size = int | tuple[int, ...] | None


def size_of(text: str) -> Size:
    """The size that a text states.

    Args:
        text: such as "92", "20x128x128" or "None".

    Raises:
        ValueError: it states no size.

    Example:
        >>> from unet_tools.arguments.sizes import size_of
        >>> size_of("92"), size_of("20x128x128"), size_of("None")
        (92, (20, 128, 128), None)
    """
    if text == "None":
        return None
    if not re.fullmatch(r"-?\d+(x-?\d+)*", text):
        raise ValueError(f"{text!r} is no size; give one number for all axes, or one per axis as in 20x128x128")
    numbers = tuple(int(part) for part in text.split("x"))
    return numbers[0] if len(numbers) == 1 else numbers


def text_of(size: Size) -> str:
    """The inverse of `size_of`; "None" for None.

    Example:
        >>> from unet_tools.arguments.sizes import text_of
        >>> text_of((20, 128, 128))
        '20x128x128'
    """
    return "x".join(map(str, size)) if isinstance(size, tuple) else str(size)


def registry() -> ConstructorRegistry:
    """tyro's rules for the flags of all commands: a size is one word, so that other words may follow it."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    own = ConstructorRegistry()

    @own.primitive_rule
    def _(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Size] | None:
        if info.type != Size:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="N|NxN…",
            instance_from_str=lambda words: size_of(words[0]),
            is_instance=lambda value: value is None or isinstance(value, int | tuple),
            str_from_instance=lambda value: [text_of(value)],
        )

    return own
