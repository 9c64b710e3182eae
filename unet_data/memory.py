"""How much memory there is to be had."""

from __future__ import annotations

import os
import re
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def available() -> int:
    """Bytes that could be had without swapping: of the machine, or of the container, whichever is less. Files that
    Linux only keeps in memory until somebody needs it count as available in both."""
    try:
        text = Path("/proc/meminfo").read_text()
        free = int(re.search(r"MemAvailable:\s+(\d+)", text)[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used, stat = ((_CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current", "stat"))
        kept = re.search(r"^inactive_file (\d+)$", stat, re.MULTILINE)
        return free if limit == "max" else min(free, int(limit) - int(used) + (int(kept[1]) if kept else 0))
    except (OSError, ValueError):
        return free
