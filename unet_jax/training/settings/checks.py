"""Shared checks of settings: choices, ranges, and 0 for None."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

from unet_spec.network import require


def zero_is_none(group: Any, names: str) -> None:
    """Reads 0 as None: the command line and files of earlier versions write 0 for "automatic" and "off"."""
    for name in names.split():
        if getattr(group, name) == 0:
            object.__setattr__(group, name, None)


def require_each(group: Any, names: str, holds: Callable[[Any], bool], allowed: str) -> None:
    """Raises InputError unless each of these settings is in the allowed range."""
    for name in names.split():
        require(holds(getattr(group, name)), name, getattr(group, name), allowed)


def require_choices(group: Any) -> None:
    """Raises InputError unless each setting with a list of values has one of them."""
    for name, hint in get_type_hints(type(group)).items():
        if get_origin(hint) is Literal:
            value, allowed = getattr(group, name), get_args(hint)
            require(value in allowed, name, repr(value), " or ".join(allowed))


def optional(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A condition that also accepts None."""
    return lambda value: value is None or holds(value)


def not_negative(value: float) -> bool:
    """Whether a number is finite and at least 0."""
    return 0 <= value < math.inf


def below_one(value: float) -> bool:
    """Whether a number lies in [0, 1)."""
    return 0 <= value < 1
