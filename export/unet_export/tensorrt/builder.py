"""The program of the child process that builds one engine: `python -m unet_export.tensorrt.builder`.

Builders are native code and have crashed on models that pass the ONNX checker. In a child process, a crash does not end
the caller. The program reads a `Job` as JSON from standard input and MODEL in the current folder. It writes ENGINE and
RESULT, a JSON object that describes the engine or, under "error", the failure. A missing result means a crash. On
standard output it reports progress, one JSON list per line: [phase, step, steps]. `child` is the parent's side.

A builder's compiler numbers its symbols in an order that depends on memory addresses and threads. With fixed addresses
and one thread, equal models give equal engines, byte for byte, on one machine in one environment (measured with
tensorrt_rtx 1.7.1).
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from .settings import EngineSettings, Job

MODEL, ENGINE, RESULT, TIMING = "model.onnx", "engine.plan", "result.json", "timing.cache"
_SHAPES = ("INT32", "INT64", "BOOL")  # dtypes of sizes, not of images


class BuildError(Exception):
    """The builder's error message, in one line."""


_ADDR_NO_RANDOMIZE = 0x0040000  # <linux/personality.h>


def fix_addresses() -> bool:
    """Restarts this process without address randomisation, if the system permits it (Linux; many containers do not).
    Returns whether addresses are fixed."""
    if not sys.platform.startswith("linux"):
        return False
    personality = ctypes.CDLL(None).personality
    personality.argtypes, personality.restype = [ctypes.c_ulong], ctypes.c_int
    current = personality(0xFFFFFFFF)  # queries the current value
    if current == -1 or current & _ADDR_NO_RANDOMIZE:
        return current != -1
    if personality(current | _ADDR_NO_RANDOMIZE) == -1:
        return False
    os.execv(sys.executable, sys.orig_argv)


def main() -> None:
    fixed = fix_addresses()
    job = Job.from_json(sys.stdin.read())
    try:
        result = build(job) | {"reproducible": fixed}
    except BuildError as e:
        result = {"error": str(e)}
    except Exception as e:
        result = {"error": f"{type(e).__name__}: {e}"}
    Path(RESULT).write_text(json.dumps(result))


def build(job: Job) -> dict[str, Any]:
    """Writes the engine to ENGINE and returns what was built. Raises BuildError."""
    trt = importlib.import_module(job.settings.backend or "")
    logger, messages = _logger(trt)
    builder = trt.Builder(logger)
    builder.max_threads = 1
    network = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(Path(MODEL).read_bytes()):
        errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise BuildError(f"the parser rejects the model: {first_reason(errors or messages)}")
    if (network.num_inputs, network.num_outputs) != (len(job.shapes), 1):
        actual = f"{network.num_inputs} inputs, {network.num_outputs} outputs"
        raise BuildError(f"the parser found {actual}; expected {len(job.shapes)}, 1")

    config = builder.create_builder_config()
    _set_options(trt, config, job.settings)
    config.progress_monitor = monitor = _monitor(trt)
    timing = config.create_timing_cache(Path(TIMING).read_bytes() if Path(TIMING).is_file() else b"")
    if job.settings.timing_cache and not (timing and config.set_timing_cache(timing, ignore_mismatch=False)):
        raise BuildError(f"the timing cache is rejected: {first_reason(messages)}")
    profile = builder.create_optimization_profile()
    for name, shapes in job.shapes.items():
        profile.set_shape(name, *shapes)
    if not profile or config.add_optimization_profile(profile) < 0:
        raise BuildError(f"the profile is rejected: {first_reason(messages)}")

    types, tensors = layer_types(network), tensor_types(network)
    start = time.perf_counter()
    engine = builder.build_serialized_network(network, config)
    seconds = time.perf_counter() - start
    del monitor
    if engine is None:
        raise BuildError(first_reason(messages))
    if inconsistent := [m for m in messages if _INCONSISTENT in m]:
        raise BuildError(f"the profile does not fit the network: {first_reason(inconsistent)}")
    Path(ENGINE).write_bytes(engine)
    if job.settings.timing_cache:
        Path(TIMING).write_bytes(config.get_timing_cache().serialize())
    return {
        "version": trt.__version__,
        "seconds": seconds,
        "tf32": config.get_flag(trt.BuilderFlag.TF32),
        "input_type": network.get_input(0).dtype.name,
        "output_type": network.get_output(0).dtype.name,
        "layer_types": dict(types),
        "tensor_types": tensors,
        "layers": network.num_layers,
    }


def layer_types(network: Any) -> Counter[str]:
    """Number of layer outputs per dtype, with TensorRT's type names. In a strongly typed network, the builder cannot
    choose other dtypes."""
    types: Counter[str] = Counter()
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        types.update(layer.get_output(k).dtype.name for k in range(layer.num_outputs))
    return types


def tensor_types(network: Any) -> dict[str, str]:
    """The dtype of every layer output, by tensor name, which is the name of the value in the ONNX model."""
    layers = (network.get_layer(i) for i in range(network.num_layers))
    outputs = (layer.get_output(k) for layer in layers for k in range(layer.num_outputs))
    return {tensor.name: tensor.dtype.name for tensor in outputs}


def wrong_types(types: dict[str, int], allowed: tuple[str, ...]) -> dict[str, int]:
    """The `layer_types` that are neither allowed nor integers for sizes."""
    return {name: count for name, count in types.items() if name not in allowed and name not in _SHAPES}


def _set_options(trt: Any, config: Any, settings: EngineSettings) -> None:
    # TF32 is on by default and rounds the factors of float32 products to ten bits.
    (config.set_flag if settings.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * 2**20)
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if capabilities := settings.compute_capabilities:
        config.num_compute_capabilities = len(capabilities)
        for i, name in enumerate(capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{name}"), i):
                raise BuildError(f"compute capability {name} is rejected")


def _strongly_typed(trt: Any) -> int:
    """The creation flags. TensorRT 10 needs the flag for strongly typed networks; later versions have no others."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _monitor(trt: Any) -> Any:
    """Reports every step of the builder on standard output. The build is cancelled when the pipe is closed."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases[phase_name] = num_steps
            self.step_complete(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                print(json.dumps([phase_name, step, self.phases.get(phase_name, 0)]), flush=True)
            except BrokenPipeError:
                return False
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.step_complete(phase_name, self.phases.pop(phase_name, 0))

    return Monitor()


_INCONSISTENT = "self-consistent"  # part of TensorRT's warning about a profile that no size satisfies


def _logger(trt: Any) -> tuple[Any, list[str]]:
    """A logger that collects errors instead of printing them."""
    messages: list[str] = []

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR) or _INCONSISTENT in msg:
                messages.append(msg)

    return Logger(), messages


def first_reason(messages: list[str]) -> str:
    """The first relevant message. Without a GPU, every build also logs that the CUDA driver is missing."""
    # Removes the position in TensorRT's source files.
    lines = [re.sub(r"\.? In \w+ at /\S+?:\d+", "", " ".join(m.split())) for m in messages]
    of_substance = [line for line in lines if "cudaError" not in line] or lines
    return of_substance[0][:500] if of_substance else "no reason given"


if __name__ == "__main__":
    main()
