"""The child process of `unet bench` for one runtime: `python -m unet_tools.checking.bench.worker`.

A separate process allows its memory to be measured, and runtimes to take turns without sharing threads. The first line
of standard input is the job as JSON. Each further line "network" or "end_to_end" requests one run, which is answered by
a line of JSON with its seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from unet_data import most_probable, predict_image
from unet_spec import Checkpoint, InputError
from unet_spec.tiling.tiles import plan_tiles

Run = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    job = json.loads(sys.stdin.readline())
    answers = os.fdopen(os.dup(1), "w")  # separates answers from the output of libraries
    os.dup2(2, 1)

    def answer(values: dict[str, Any]) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        run, checkpoint = open_runtime(job)
        rng = np.random.default_rng(0)
        x = rng.normal(size=(job["batch"], *job["size"], checkpoint.config.in_channels)).astype(np.float32)
        image = rng.integers(0, 256, (*job["image"], checkpoint.config.in_channels)).astype(np.uint8)
        # Tiles of the measured size, since another size would be compiled again.
        plan = plan_tiles(checkpoint.config.geometry, tuple(job["image"]), tuple(job["size"]))
        works = {
            "network": lambda: run(x),
            "end_to_end": lambda: most_probable(predict_image(run, image, checkpoint.config, checkpoint.data, plan)),
        }
        start = time.perf_counter()
        works["network"]()
        answer({"first": time.perf_counter() - start})
        for line in sys.stdin:
            start = time.perf_counter()
            works[line.strip()]()
            answer({"seconds": time.perf_counter() - start, "peak_bytes": peak_bytes()})
    except InputError as e:
        answer({"error": str(e)})


def open_runtime(job: dict[str, Any]) -> tuple[Run, Checkpoint]:
    """Opens the network of a bundle in one of `measure.RUNTIMES`. Raises InputError."""
    from unet_export import load, open_bundle
    from unet_export.onnx.check import read_onnx, weights_of

    bundle = open_bundle(Path(job["bundle"]))
    _, model, where = read_onnx(bundle.onnx)
    checkpoint = Checkpoint(bundle.config, weights_of(model, where), bundle.data)
    kind, _, precision = job["runtime"].partition(" ")
    if kind in ("onnx", "openvino", "tensorrt"):
        return load(bundle, kind, precision=precision or "fp32").runtime.run, checkpoint
    from ...arguments.runtimes import installed, open_checkpoint

    if kind.startswith("torch") and installed("torch"):
        return _torch(checkpoint, compiled=kind == "torch-compile"), checkpoint
    return open_checkpoint(checkpoint, kind.removesuffix("-compile")).run, checkpoint


def _torch(checkpoint: Checkpoint, compiled: bool) -> Run:
    """Opens the network in PyTorch, on the GPU if present, like JAX and the engines."""
    import torch

    from unet_torch import from_checkpoint
    from unet_torch.runtime import TorchRuntime

    runtime = TorchRuntime(from_checkpoint(checkpoint).to("cuda" if torch.cuda.is_available() else "cpu"))
    if compiled:
        runtime.model = cast(Any, torch.compile(runtime.model))
    return runtime.run


def peak_bytes() -> int | None:
    """The peak memory of this process; None if the system does not report it."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
