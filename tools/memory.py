"""How much memory this process has; amounts of memory in words."""

from __future__ import annotations

import contextlib
import re
import resource
import sys
from pathlib import Path

from unet_spec import InputError

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def parse_bytes(text: str) -> int:
    """ "2GiB", "500M" or "1.5 g" as bytes; the units are powers of 1024. Raises InputError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if not found or not float(found[1]):
        raise InputError(f"{text!r} is no amount of memory; write it as 500MiB or 2GiB")
    return int(float(found[1]) * _UNITS[found[2]])


def resident() -> int:
    """Bytes that this process has in memory now (elsewhere than on Linux: had, at the most)."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """The most bytes that this process had in memory so far, or since `restart_peak`."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or used * (1 if sys.platform == "darwin" else 1024)


def restart_peak() -> None:
    """Lets `peak_resident` begin anew, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    try:
        found = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
