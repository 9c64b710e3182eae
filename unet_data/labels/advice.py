"""Advice for label numbers to which no rule applies."""

from __future__ import annotations

import numpy as np

MAX_AUTO_CLASSES = 32
MAX_CLASSES_WITH_GAPS = 255
"""Maximum number of classes if numbers have gaps: 255 more often marks ignored pixels than a class."""


def without_gaps(values: np.ndarray) -> bool:
    """Whether sorted values are 0..K-1 with K of at most MAX_AUTO_CLASSES."""
    return len(values) == values[-1] + 1 and len(values) <= MAX_AUTO_CLASSES


def to_ignore(value: int) -> str:
    """Advice for a number that marks pixels to ignore."""
    return f"if {value} marks pixels to ignore, pass --ignore {value} (ignore={value} in Python)"


def some(values: np.ndarray) -> str:
    """The first numbers, for messages."""
    shown = ", ".join(str(value) for value in values[:8])
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} different values, up to {values[-1]})"


def advice(values: np.ndarray) -> str:
    """Advice for numbers to which no rule applies. Each remedy is one that works for these numbers."""
    if len(values) > MAX_AUTO_CLASSES and values[0] == 0 and values[-1] == 255:
        return (
            "grey levels between 0 and 255 come from JPEG or smoothed edges: threshold at 128 and save as PNG "
            "(or pass --labels instance, in Python kind='instance', if they number objects)"
        )
    void = f"{to_ignore(255)}; else " if values[-1] == 255 and without_gaps(values[:-1]) else ""
    counted = values[values != 255] if void else values
    if counted[0] > 0 and 1 < len(counted) <= MAX_AUTO_CLASSES:
        numbers = ",".join(map(str, counted))
        return (
            f"{void}no pixel is 0: pass --class-numbers {numbers} (class_numbers in Python; {counted[0]} becomes class "
            "0; put the background first), or --labels instance (they number objects)"
        )
    numbers = ",".join(map(str, values)) if len(values) <= MAX_AUTO_CLASSES else f"0-{values[-1]}"
    classes = "--labels semantic" if values[-1] < MAX_CLASSES_WITH_GAPS or void else f"--class-numbers {numbers}"
    return (
        f"{void}write class indices 0, 1, 2, ... without gaps, or 0/255, or pass {classes} (they are class indices) or "
        "--labels instance (they number objects); in Python kind='semantic', class_numbers=... or kind='instance'"
    )
