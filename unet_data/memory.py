"""Memory that is available on this machine, and memory that this process uses."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available() -> int:
    """Bytes that can be allocated without swapping, on the machine or in the container, whichever is less.

    The file cache of Linux counts as available in both.
    """
    try:
        text = Path("/proc/meminfo").read_text()
        free = int(re.findall(r"MemAvailable:\s+(\d+)", text)[0]) * 1024
    except (OSError, IndexError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used, stat = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current", "stat"))
        cached = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
        return free if limit == "max" else min(free, int(limit) - int(used) + (int(cached[1]) if cached else 0))
    except (OSError, ValueError):
        return free


def resident() -> int:
    """Bytes that this process has in memory now (on other systems than Linux, the peak)."""
    return _status("VmRSS") or peak_resident()


def peak_resident() -> int:
    """Maximum bytes that this process had in memory so far, or since `restart_peak`."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or used * (1 if sys.platform == "darwin" else 1024)


def restart_peak() -> None:
    """Resets `peak_resident`, if the system supports it (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    try:
        found = re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
