"""Commands in forked children of a warm process, each within limits of memory, processor time and time."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

WARM = (
    "numpy.ma",
    "scipy.ndimage",
    "scipy.sparse",
    "scipy.special",
    "scipy.signal",
    "PIL.Image",
    "PIL.PngImagePlugin",
    "PIL.JpegImagePlugin",
    "PIL.TiffImagePlugin",
    "tifffile",
    "zarr",
    "numcodecs",
    "nibabel",
    "tyro",
    "safetensors.numpy",
    "onnx",
    "onnxruntime",
    "jsonschema",
    "torch",
    "torch.nn",
    "h5py",
    "rich.progress",
    "unet_torch",
    "unet_torch.pth",
    "unet_torch.runtime",
    "unet_export",
    "unet_export.reference",
    "unet_data.nnunet",
    "unet_tools.cli",
    "unet_jax",
    "unet_jax.training.loop",
    "unet_tools.report.page",
    "optax",
    "orbax.checkpoint",
    "matplotlib.pyplot",
)
"""Modules that the warm process imports before the commands; none of them starts a thread."""


@dataclass(frozen=True)
class Limits:
    """Bytes above the start, seconds of processor time, seconds."""

    memory: int = 2 * 2**30
    processor: int = 60
    seconds: int = 150


@dataclass(frozen=True)
class Ended:
    """How a child ended. code: negative for a signal. stopped: "hang", "memory" or "". excess: bytes above start."""

    code: int
    out: str
    err: str
    seconds: float
    excess: int
    stopped: str = ""


def warm(commands: Sequence[str]) -> None:
    """Imports what the children need; what is not installed is left out."""
    for name in (*WARM, *(f"unet_tools.commands.{command}" for command in commands)):
        with contextlib.suppress(ImportError):
            import_module(name)


def run(work: Callable[[], int], folder: Path, limits: Limits | None = None) -> Ended:
    """Runs `work` in a child whose current folder, home, caches and temporary files lie in `folder`."""
    limits = limits or Limits()
    for name in ("home", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    start, began = _memory(os.getpid()), time.perf_counter()
    child = os.fork()
    if child == 0:
        _child(work, folder, limits)
    stopped, peak = "", start
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        peak = max(peak, _memory(child))
        seconds = time.perf_counter() - began
        if peak - start > limits.memory:
            stopped = "memory"
        elif seconds > limits.seconds:
            stopped = "hang"
        if stopped:
            os.killpg(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(0.002 if seconds < 0.2 else 0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started
    code = os.waitstatus_to_exitcode(status)
    if code in (-signal.SIGXCPU, -signal.SIGKILL) and not stopped:
        stopped = "hang" if usage.ru_utime + usage.ru_stime >= limits.processor - 1 else "memory"
    excess = max(peak, usage.ru_maxrss * 1024) - start
    texts = [(folder / name).read_text(encoding="utf-8", errors="surrogateescape") for name in ("stdout", "stderr")]
    return Ended(code, *texts, time.perf_counter() - began, excess, stopped or "memory" * (excess > limits.memory))


def _child(work: Callable[[], int], folder: Path, limits: Limits) -> None:
    code = 70
    try:
        os.setsid()
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.update(HOME=str(folder / "home"), TMPDIR=str(folder / "tmp"), UNET_CACHE=str(folder / "home/cache"))
        import tempfile

        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (limits.processor, limits.processor + 5))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
        virtual = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
        most = virtual + 2 * limits.memory + 2**33  # a last resort: numbers beyond all measure fail as on any machine
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        code = work()
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code or 0)


def _memory(process: int) -> int:
    """Bytes of a process that are its own: of the files that it maps, only the system decides how many it keeps."""
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
