"""What a benchmark leaves: a JSON file that says by which command, on what, with which versions, and when."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unet_spec.checkpoint import replacing
from unet_tools.bench_measure import versions
from unet_tools.demo import hardware


def record_of(tool: str, **more: Any) -> dict[str, Any]:
    """The record of the running benchmark, such as "bench_train", and what it has to tell besides."""
    return {
        "command": shlex.join(["python", "-m", f"unet_tools.{tool}", *sys.argv[1:]]),
        "hardware": hardware(),
        "versions": versions(),
        "date": datetime.now(UTC).date().isoformat(),
        **more,
    }


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Makes its folder, and the file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
