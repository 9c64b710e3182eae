"""Measures the speed of a bundle in several runtimes, which take turns, so that their times are comparable."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_export import Bundle, default_tile
from unet_spec import InputError
from unet_spec.tiling.tiles import per_axis, tile_below

from .hardware import gpus

RUNTIMES = ("onnx", "tensorrt", "openvino", "torch", "torch-compile", "jax")
"""Runtimes that can be measured. onnx and tensorrt run in each supported precision; torch is eager, jax is jitted."""
_CHILD = (sys.executable, "-P", "-m", "unet_tools.checking.bench.worker")


@dataclass(frozen=True)
class Timing:
    """Timing of one runtime. Seconds per batch (network) or per image (end to end, from preparation to labels).

    Attributes:
        runtime: Name, such as "onnx fp32".
        note: Reason why it was not run; then all other attributes are None.
        first: Time of the first batch, including compilation.
        p50, p99: Percentiles of the network's time.
        images_per_second, megapixels_per_second: Throughput of the network, in output pixels.
        end_to_end_p50: Median time per image, from bytes to labels.
        peak_bytes: Peak memory of the runtime's process.
        peak_share: Speed relative to a float32 matrix product on this machine; None on a machine with a GPU.
    """

    runtime: str
    note: str = ""
    first: float | None = None
    p50: float | None = None
    p99: float | None = None
    images_per_second: float | None = None
    megapixels_per_second: float | None = None
    end_to_end_p50: float | None = None
    peak_bytes: int | None = None
    peak_share: float | None = None


def bench_bundle(
    bundle: Bundle,
    runtimes: Sequence[str],
    batch: int,
    size: int | tuple[int, ...] | None,
    rounds: int,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Times every runtime, in turns.

    Args:
        bundle: the network.
        runtimes: names in RUNTIMES.
        batch: images per call.
        size: pixels of the network's input, one number for all axes or one per axis. None: the bundle's tile.
        rounds: number of turns per runtime.
        report: called with a line when a runtime starts.

    Returns:
        The sizes, and a `Timing` for each runtime.

    Raises:
        InputError: an unknown runtime, a size that does not fit, a count below 1.
    """
    if unknown := [name for name in runtimes if name not in RUNTIMES]:
        raise InputError(f"unknown runtime {unknown[0]!r}; allowed: {', '.join(RUNTIMES)}")
    for name, value in (("batch", batch), ("rounds", rounds)):
        if value < 1:
            raise InputError(f"{name} is {value}; it must be at least 1")
    geometry = bundle.config.geometry
    shape = default_tile(geometry) or tile_below(geometry, 572)
    if size is not None:
        shape = per_axis(size, bundle.config.spatial_dims, "--size")
    geometry.check(shape)
    out = geometry.output_shape(shape)
    image = tuple(n + n // 2 for n in out)  # more than one tile, so that end to end includes stitching
    macs = sum(bundle.config.graph.macs(shape).values())
    peak = measured_peak()
    children = [_Child(name, bundle, batch, shape, image) for name in _names(runtimes, bundle)]
    try:
        for child in children:
            report(f"{child.name}: {child.begin()}")
        seconds: dict[str, dict[str, list[float]]] = {c.name: {"network": [], "end_to_end": []} for c in children}
        for _ in range(rounds):
            for kind in ("network", "end_to_end"):
                for child in children:
                    if not child.error:
                        seconds[child.name][kind].append(child.run(kind))
    finally:
        for child in children:
            child.end()
    pixels = batch * math.prod(out)
    timings = [_timing(child, seconds[child.name], batch, pixels, 2 * macs * batch, peak) for child in children]
    return {
        "input": [batch, *shape],
        "output": [batch, *out],
        "image": list(image),
        "rounds": rounds,
        "multiply_adds": macs,
        "peak_gflops": None if peak is None else peak / 1e9,
        "timings": timings,
    }


def in_turns(runs: Mapping[str, Callable[[int], object]], rounds: int, repeats: int = 1) -> dict[str, float]:
    """Median seconds per run of each function, timed over `repeats` runs. `runs`: functions that run a given number of
    times and wait for the end.

    They take turns, so that other load on the machine affects all equally. A warm-up round and the first run of each
    turn, with cold caches and memory pages, are discarded."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            run(1)
            start = time.perf_counter()
            if turn:
                run(repeats)
                seconds[name].append((time.perf_counter() - start) / repeats)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def measured_peak(size: int = 2048) -> float | None:
    """Floating-point operations per second of a float32 matrix product on this machine (NumPy's BLAS), the best of
    five. None on a machine with a GPU, where each precision has its own peak, which `benchmarks.gpu` measures."""
    if gpus():
        return None
    a = np.random.default_rng(0).random((size, size), np.float32)
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        np.matmul(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def _names(runtimes: Sequence[str], bundle: Bundle) -> list[str]:
    """Names of the runtimes, with onnx and tensorrt per precision. Precisions that ONNX Runtime's CPU provider does not
    compute are left out: it computes fp16 in float32, and has no bf16."""
    names: list[str] = []
    for name in runtimes:
        if name == "tensorrt":
            names += [f"tensorrt {p}" for p in bundle.precisions if any(e.precision == p for e in bundle.engines)]
        elif name == "onnx":
            names += [f"onnx {p}" for p in bundle.precisions if p in ("fp32", "int8")]
        else:
            names.append(name)
    return names


def _timing(
    child: _Child, seconds: dict[str, list[float]], batch: int, pixels: int, flops: int, peak: float | None
) -> Timing:
    if child.error:
        return Timing(child.name, child.error)
    network = seconds["network"]
    p50 = float(np.quantile(network, 0.5))
    return Timing(
        child.name,
        "",
        child.first,
        p50,
        float(np.quantile(network, 0.99)),
        batch / p50,
        pixels / p50 / 1e6,
        float(np.quantile(seconds["end_to_end"], 0.5)),
        child.peak_bytes,
        None if peak is None else flops / p50 / peak,
    )


class _Child:
    """One runtime in a child process."""

    def __init__(self, name: str, bundle: Bundle, batch: int, size: Sequence[int], image: Sequence[int]):
        self.name, self.error, self.first, self.peak_bytes = name, "", None, None
        self._job = {"runtime": name, "bundle": str(Path(bundle.folder).absolute()), "batch": batch}
        self._job |= {"size": list(size), "image": list(image)}
        self._process = subprocess.Popen(
            _CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def begin(self) -> str:
        """Loads the network and runs it once. Returns a line to report."""
        self._send(json.dumps(self._job))
        answer = self._answer()
        self.first, self.error = answer.get("first"), answer.get("error", "")
        return self.error or f"first run {self.first:.1f} s"

    def run(self, kind: str) -> float:
        self._send(kind)
        answer = self._answer()
        if "error" in answer:
            self.error = answer["error"]
            return math.nan
        self.peak_bytes = answer["peak_bytes"]
        return answer["seconds"]

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it crashed; `_answer` reports its last message

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        assert self._process.stderr is not None
        last = self._process.stderr.read().strip().splitlines()[-1:] or ["it printed nothing"]
        return {"error": f"its process ended with exit code {self._process.wait()}; last line: {last[0][:200]}"}
