"""Running engines of `tensorrt` and `tensorrt_rtx` on a GPU.

Unproven: the checks before loading are tested, but the loading and running below was written against the documented
interfaces and has not been run on a GPU yet. Needs cuda-python (`pip install cuda-python`) besides the backend.
"""

from __future__ import annotations

import hashlib
import importlib
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError, NetworkConfig
from unet_spec.geometry import check_image

from .cuda_device import Device, find_device
from .onnx_ops import INPUT, OUTPUT
from .tensorrt_backend import EngineRecord, available_backends


def check_engine(path: str | os.PathLike[str], record: EngineRecord, device: Device) -> bytes:
    """The engine's bytes, if this machine can run it. Deserialising gives None, and no reason, where it cannot.

    Raises InputError where the file is missing or not the recorded one, the backend is not installed, its version is
    another than the engine was built with, or the GPU is not among those that it was built for.
    """
    try:
        plan = Path(path).read_bytes()
    except OSError as e:
        raise InputError(f"cannot read engine {path}: {e.strerror or e}") from None
    if hashlib.sha256(plan).hexdigest() != record.sha256:
        raise InputError(f"engine {path} is damaged or another: its SHA-256 is not {record.sha256[:12]}…")
    targets = record.compute_capabilities
    if targets and device.compute_capability not in targets:
        raise InputError(
            f"engine {path} is for compute capability {', '.join(targets)}; {device.name} has"
            f" {device.compute_capability}; build one for it"
        )
    if record.backend not in available_backends():
        raise InputError(f"engine {path} needs {record.backend} {record.version}, which is not installed")
    version = importlib.import_module(record.backend).__version__
    if version != record.version:
        raise InputError(f"engine {path} was built by {record.backend} {record.version}; installed is {version}")
    return plan


class TensorRTRuntime:
    """A loaded engine.

    Attributes:
        config: the network.
        record: what the engine is.
        device: what runs it.
    """

    name = "tensorrt"

    def __init__(self, path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig):
        """Loads the engine. Raises InputError: no CUDA device, no cuda-python, and where `check_engine` does."""
        self.config, self.record = config, record
        self.device = find_device()
        plan = check_engine(path, record, self.device)
        self._cuda = _cuda()
        trt = importlib.import_module(record.backend)
        logger = trt.Logger(trt.Logger.ERROR)
        runtime = trt.Runtime(logger)
        if hasattr(runtime, "get_engine_validity"):  # TensorRT for RTX only
            validity, diagnostics = runtime.get_engine_validity(plan)
            if validity == trt.EngineValidity.INVALID:
                raise InputError(f"engine {path} is not valid on {self.device.name} (diagnostics {diagnostics})")
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InputError(f"{record.backend} {record.version} cannot load engine {path} on {self.device.name}")
        for name in (INPUT, OUTPUT):
            if engine.get_tensor_dtype(name) != trt.float32:
                raise InputError(f"engine {path}: {name} is {engine.get_tensor_dtype(name)}, expected float32")
        self._engine, self._context = engine, engine.create_execution_context()
        if self._context is None:
            raise InputError(f"engine {path}: no execution context; is the GPU's memory full?")
        self._stream = self._ask(self._cuda.cudaStreamCreate())
        self._runtime = runtime  # the engine must not outlive it
        self._lock = threading.Lock()  # a context runs one batch at a time

    def run(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, already normalised.

        Raises InputError on another dtype, axes, channels, or a size off the grid or outside the engine's profile.
        """
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        shape, profile = images.shape[:-1], self.record.profile
        if shape not in profile:
            raise InputError(f"a batch of {shape} is outside this engine's profile, {profile.min} to {profile.max}")
        given = np.ascontiguousarray(np.moveaxis(images, -1, 1))
        out = (shape[0], self.config.out_channels, *self.config.geometry.output_shape(shape[1:]))
        logits = np.empty(out, np.float32)
        with self._lock:
            self._execute(given, logits, shape)
        return np.ascontiguousarray(np.moveaxis(logits, 1, -1))

    def close(self) -> None:
        """Frees what the GPU holds for this engine. It cannot run afterwards; closing twice does nothing."""
        with self._lock:
            if self._context is None:
                return
            self._context = self._engine = self._runtime = None
            self._ask(self._cuda.cudaStreamDestroy(self._stream))

    def _execute(self, given: np.ndarray, logits: np.ndarray, shape: tuple[int, ...]) -> None:
        if self._context is None:
            raise InputError(f"{self.record.file} was closed")
        cuda, memory = self._cuda, []
        try:
            memory = [self._ask(cuda.cudaMalloc(math.prod(a.shape) * a.itemsize)) for a in (given, logits)]
            self._copy(memory[0], given.ctypes.data, given.nbytes, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
            self._context.set_input_shape(INPUT, given.shape)
            self._context.set_tensor_address(INPUT, int(memory[0]))
            self._context.set_tensor_address(OUTPUT, int(memory[1]))
            if not self._context.execute_async_v3(int(self._stream)):
                raise InputError(f"{self.record.file} failed on a batch of {shape}")
            self._copy(logits.ctypes.data, memory[1], logits.nbytes, cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)
            self._ask(cuda.cudaStreamSynchronize(self._stream))
        finally:
            for pointer in memory:
                cuda.cudaFree(pointer)

    def _copy(self, target: Any, source: Any, size: int, kind: Any) -> None:
        self._ask(self._cuda.cudaMemcpyAsync(target, source, size, kind, self._stream))

    def _ask(self, answer: tuple[Any, ...]) -> Any:
        """The value of a CUDA call, whose answer is (error, value...)."""
        if answer[0] != self._cuda.cudaError_t.cudaSuccess:
            raise InputError(f"CUDA on {self.device.name}: {answer[0]}")
        return answer[1] if len(answer) > 1 else None


def load_engine(path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig) -> TensorRTRuntime:
    """The engine, ready to run. Raises InputError as `TensorRTRuntime` does; without a GPU: "no CUDA device: ..."."""
    return TensorRTRuntime(path, record, config)


def _cuda() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise InputError("running an engine needs cuda-python; pip install cuda-python") from None
