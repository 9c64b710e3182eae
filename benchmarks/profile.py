"""Time of a training step on the device by kind of kernel, from a trace of JAX's profiler."""

from __future__ import annotations

import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS = (
    ("change of layout", r"nchwtonhwc|nhwctonchw|transpose"),
    ("convolution", r"conv|cudnn|fprop|dgrad|wgrad|implicit_gemm"),
    ("matrix product", r"gemm|nvjet|cublas|cutlass|dot"),
    ("reduction", r"reduce"),
    ("copy", r"memcpy|memset|copy"),
    ("pointwise", r"fusion|loop|wrapped|broadcast|select|add|multiply|slice|pad|concatenate|scatter|gather"),
)
"""Kinds of kernel, with a pattern of their names. The first match counts."""


def kind_of(kernel: str) -> str:
    """The kind of a kernel by its name, such as "convolution", or "other"."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, kernel, re.IGNORECASE)), "other")


def profile(run: Callable[[int], None], steps: int = 5, shown: int = 12) -> dict[str, Any]:
    """Times the kernels of a compiled function that runs a number of steps and waits for them.

    Returns:
        seconds_per_step: wall-clock time; kinds: seconds per step by kind; kernels: the `shown` longest ones, with
        their calls and seconds per step.
    """
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            start = time.perf_counter()
            run(steps)
            wall = (time.perf_counter() - start) / steps
        trace = next(Path(folder).rglob("*.xplane.pb"))
        events = list(_kernels(jax.profiler.ProfileData.from_file(str(trace))))
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for name, duration in events:
        seconds[name] += duration / steps
        calls[name] += 1
    kinds: dict[str, float] = defaultdict(float)
    for name, spent in seconds.items():
        kinds[kind_of(name)] += spent
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:shown]
    return {
        "seconds_per_step": wall,
        "kinds": dict(sorted(kinds.items(), key=lambda item: -item[1])),
        "kernels": [{"name": n, "calls": calls[n] / steps, "seconds_per_step": seconds[n]} for n in longest],
    }


def _kernels(data: Any) -> Iterator[tuple[str, float]]:
    """Name and seconds of each kernel on the GPU's streams or, without a GPU, of each XLA operation on CPU threads."""
    planes = list(data.planes)
    gpus = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    for plane in gpus or [plane for plane in planes if plane.name == "/host:CPU"]:
        for line in plane.lines:
            if gpus and not line.name.startswith("Stream"):
                continue  # it repeats the kernels, by module or by operation
            for event in line.events:
                if gpus or any(key == "hlo_op" for key, _ in event.stats):
                    yield event.name, event.duration_ns / 1e9
