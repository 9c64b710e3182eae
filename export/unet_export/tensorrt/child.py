"""Runs the process that builds an engine (`builder`), and reads its progress, its result and its exit code.

A crash in native code, or Ctrl-C, ends that process and leaves no file.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.files import replacing

from .builder import ENGINE, MODEL, RESULT, TIMING
from .settings import Job

Progress = Callable[[str, int, int], None]
"""Called with the builder's phase, step and number of steps."""
_CHILD = (sys.executable, "-P", "-m", "unet_export.tensorrt.builder")  # -P: never import from the current folder


def run_child(
    job: Job, onnx: bytes, what: str, timing_cache: Path | None = None, progress: Progress | None = None
) -> tuple[dict[str, Any], bytes]:
    """Runs the child; returns its result and the engine. Raises InputError if it reports an error or crashes.

    Reproducible bytes need the same memory layout, so the child receives no path and no random seed.
    """
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    if "PYTHONPATH" in environment:  # may be relative, and the child runs in another folder
        places = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(place) for place in places if place)
    with tempfile.TemporaryDirectory(prefix="unet-engine-") as name:
        folder = Path(name)
        (folder / MODEL).write_bytes(onnx)
        if timing_cache is not None and timing_cache.is_file():
            (folder / TIMING).write_bytes(timing_cache.read_bytes())
        with (folder / "stderr").open("w+", encoding="utf-8", errors="replace") as stderr:
            code = _wait(job, environment, folder, stderr, progress)
            stderr.seek(0)
            last = stderr.read().strip().splitlines()[-1:] or ["it printed nothing"]
        if code or not (folder / RESULT).is_file():
            raise InputError(f"{what}: the builder's process {_ending(code)}; last line: {last[0][:300]}")
        built = json.loads((folder / RESULT).read_text())
        if "error" in built:
            raise InputError(f"{what}: {built['error']}")
        if timing_cache is not None:
            with replacing(timing_cache) as temporary:
                temporary.write_bytes((folder / TIMING).read_bytes())
        return built, (folder / ENGINE).read_bytes()


def _wait(job: Job, environment: dict, folder: Path, stderr: Any, progress: Progress | None) -> int:
    """Runs the child and returns its exit code. An exception while waiting also ends the child."""
    child = subprocess.Popen(
        _CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment, cwd=folder
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        try:
            with contextlib.suppress(BrokenPipeError):  # it crashed; its exit code gives the reason
                child.stdin.write(job.to_json())
                child.stdin.close()
            for line in child.stdout:
                if progress is not None and line.startswith("["):
                    progress(*json.loads(line))
        except BaseException:
            child.kill()
            raise
        return child.wait()


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"crashed (signal {-code})"
    return f"ended with exit code {code}"
