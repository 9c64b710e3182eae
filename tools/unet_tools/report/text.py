"""Formats numbers, sizes and strings for a report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """Replaces control characters and lone surrogates, which XML and fonts do not support, by "\ufffd"."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def fit(text: str, length: int) -> str:
    """The text on one line of at most `length` letters."""
    text = " ".join(printable(text).split())
    return text if len(text) <= length else text[: length - 1] + "…"


def short(value: float | None, digits: int = 2) -> str:
    """3.1e-7, 0 or "–" for None, NaN and inf."""
    if value is None or not math.isfinite(value):
        return "–"
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}" if value else "0"


def share(value: float | None) -> str:
    """A share 0..1 as percent with two digits after the point; "–" for None and NaN."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.2%}"


def agreement(value: float | None) -> str:
    """A share 0..1 as percent, "100%" only if it is exact; "–" for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    return "100%" if value == 1 else f"{math.floor(value * 1e6) / 1e4:.4f}%"


def size(values: Any) -> str:
    """(572, 572) as "572 × 572"; "–" for None."""
    return "–" if values is None else " × ".join(f"{v}" for v in values)


def seconds(value: float | None) -> str:
    """A duration: "0.41 s", "12.8 s", "2 min 02 s"; "–" for None and NaN."""
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 99.5:
        return f"{round(value) // 60} min {round(value) % 60:02d} s"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def as_text(value: Any, key: str = "") -> str:
    """Any value of an engine's record: "min 1 × 1 × 92 × 92, opt ...", "8.0, 8.6", "2,481,152 bytes"."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "seconds" and isinstance(value, int | float):
        return seconds(value)
    if key == "bytes" and isinstance(value, int):
        return f"{value / 1e6:,.1f} MB ({value:,} bytes)"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {as_text(v, key)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        shape = key == "profile" and value and all(isinstance(v, int) for v in value)
        return size(value) if shape else ", ".join(as_text(v, key) for v in value)
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def size_label(size: list[int]) -> str:
    """ "572²" for a square map (*spatial, C), "64³" for a cube, one line per axis for others."""
    spatial = size[:-1]
    if len(set(spatial)) == 1:
        return f"{spatial[0]}{' ²³'[len(spatial) - 1]}".strip()
    return "\n×".join(map(str, spatial))


def large(count: int) -> str:
    """150428424448 as "150.4 G", 235671328 as "235.7 M"; below a million in full."""
    return f"{count / 1e9:,.1f} G" if count >= 1e9 else f"{count / 1e6:,.1f} M" if count >= 1e6 else f"{count:,}"


def times(detail: str) -> str:
    """ "3x3 valid" as "3×3 valid", "x2 linear" as "×2 linear"."""
    return re.sub(r"(\d|^)x(?=\d)", r"\1×", detail)


def receptive_field(facts: dict[str, Any]) -> str:
    """ "188–204": the minimum and maximum number of pixels per axis that an output depends on; "" if unknown."""
    widths = [int(w) for w in (facts.get("receptive_field") or {}).get("widths", {})]
    return "–".join(map(str, sorted({min(widths), max(widths)}))) if widths else ""
