"""Runs engines of `tensorrt` and `tensorrt_rtx` on a GPU.

Unproven: the checks before loading are tested, but loading and running follow the documented interfaces and have not
been run on a GPU yet. Needs cuda-python (`pip install cuda-python`) in addition to the backend.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError, NetworkConfig
from unet_spec.files import cache_folder, replacing
from unet_spec.ops import check_noise, noise_input

from ..onnx.ops import INPUT, OUTPUT
from ..runtimes.batch import Reopened, absolute, model_input
from .cuda_device import Device, find_device
from .cuda_stream import CudaCalls, CudaStream
from .engine_record import EngineRecord
from .settings import available_backends

if TYPE_CHECKING:
    from jaxtyping import Float32


def check_engine(path: str | os.PathLike[str], record: EngineRecord, device: Device) -> bytes:
    """Reads an engine and checks that this machine can run it; otherwise, deserialising would return None without a
    reason.

    Raises InputError if the file is missing or differs from the record, the backend is not installed or has another
    version than the engine, or the engine does not support the GPU.
    """
    try:
        plan = Path(path).read_bytes()
    except OSError as e:
        raise InputError(f"cannot read engine {path}: {e.strerror or e}") from None
    if hashlib.sha256(plan).hexdigest() != record.sha256:
        raise InputError(f"engine {path} is damaged or was replaced: its SHA-256 is not {record.sha256[:12]}…")
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
        raise InputError(f"engine {path} was built by {record.backend} {record.version}, but {version} is installed")
    return plan


class TensorRTRuntime(Reopened):
    """A loaded TensorRT engine. Threads may share one.

    Attributes:
        name: "tensorrt".
        config: The network.
        record: Record of the engine.
        device: The GPU that runs it.

    Example:
        >>> from unet_export import load_engine, open_bundle
        >>> def segment(folder, images):  # on a machine with a GPU
        ...     bundle = open_bundle(folder)
        ...     record = bundle.engines[0]
        ...     return load_engine(bundle.engine_path(record), record, bundle.config).run(images)
    """

    name = "tensorrt"

    def __init__(self, path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig):
        """Loads the engine. Raises InputError without a CUDA device or cuda-python, and like `check_engine`."""
        self.opened = (absolute(path), record, config)
        self.config, self.record = config, record
        self.device = find_device()
        plan = check_engine(path, record, self.device)
        cuda = CudaCalls(_cuda(), self.device.name)
        trt = importlib.import_module(record.backend)
        self._runtime: Any = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # the engine must not outlive it
        self._engine: Any = self._load(trt, plan, path)
        self._cache = RuntimeCache.of(trt, self._engine, record)
        self._stream = CudaStream(cuda, self._context(path), OUTPUT, record.file)

    def run(
        self, images: Float32[np.ndarray, "n *spatial c"], noise: Float32[np.ndarray, "s features"] | None = None
    ) -> Float32[np.ndarray, "out_n *out k"]:
        """Computes logits.

        Args:
            images: (N, *spatial, C) float32, normalised, of a size on the grid and within the engine's profile.
            noise: Noise of a latent variable, (N, features) float32, or (S, features) for S hypotheses of one image, up
                to `record.profile.max_hypotheses`. None: zeros.

        Returns:
            Logits (N, *out, K) float32, or (S, *out, K).

        Raises:
            InputError: On a wrong dtype, number of axes or channels, on a size off the grid or outside the profile,
                after `close`, and if CUDA fails.
        """
        return self._stream.run(*self._inputs(images, noise))

    def close(self) -> None:
        """Frees the engine's GPU memory. It cannot run afterwards; closing twice does nothing."""
        with self._stream.lock:
            if self._cache is not None:
                self._cache.save()
            self._stream.close()
            self._cache = self._engine = self._runtime = None

    def _load(self, trt: Any, plan: bytes, path: str | os.PathLike[str]) -> Any:
        backend, device = self.record.backend, self.device.name
        if backend == "tensorrt_rtx":  # only this backend has the query
            validity, diagnostics = self._runtime.get_engine_validity(plan)
            if validity == trt.EngineValidity.INVALID:
                raise InputError(f"engine {path} is not valid on {device} (diagnostics {diagnostics})")
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InputError(f"{backend} {self.record.version} cannot load engine {path} on {device}")
        for name in (INPUT, OUTPUT):
            if engine.get_tensor_dtype(name) != trt.float32:
                raise InputError(f"engine {path}: {name} is {engine.get_tensor_dtype(name)}, expected float32")
        return engine

    def _context(self, path: str | os.PathLike[str]) -> Any:
        settings = () if self._cache is None else (self._cache.settings,)
        context = self._engine.create_execution_context(*settings)
        if context is None:
            raise InputError(f"engine {path}: no execution context; is the GPU's memory full?")
        return context

    def _inputs(self, images: np.ndarray, noise: np.ndarray | None) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
        """The engine's inputs by name, and the shape of its output, channels first."""
        image = model_input(self.config, images)
        shape, profile = images.shape[:-1], self.record.profile
        if shape not in profile:
            raise InputError(f"a batch of {shape} is outside this engine's profile, {profile.min} to {profile.max}")
        inputs, rows = {INPUT: image}, len(images)
        if (node := noise_input(self.config.graph)) is not None and noise is None:
            noise = np.zeros((rows, node.op.channels()), np.float32)
        if noise is not None:
            name, rows = check_noise(self.config.graph, len(images), noise), len(noise)
            if rows > (limit := profile.max_hypotheses):
                raise InputError(f"{rows} samples at once are outside this engine's profile; its limit is {limit}")
            inputs[name] = np.ascontiguousarray(noise, np.float32)
        return inputs, (rows, self.config.output_channels, *self.config.geometry.output_shape(shape[1:]))


@dataclass
class RuntimeCache:
    """The kernels that TensorRT for RTX compiles on the GPU in the first run, stored in a file for later processes.

    Attributes:
        settings: Runtime configuration of the execution context.
        cache: The backend's cache.
        file: File of the cache.
    """

    settings: Any
    cache: Any
    file: Path

    @classmethod
    def of(cls, trt: Any, engine: Any, record: EngineRecord) -> RuntimeCache | None:
        """Opens the cache; None for a backend without one. The backend refuses a file of another GPU or version, which
        is then replaced."""
        if record.backend != "tensorrt_rtx":
            return None
        settings = engine.create_runtime_config()
        cache = settings.create_runtime_cache()
        file = cache_folder() / f"{record.file}-{record.sha256[:16]}.cache"
        if file.is_file():
            cache.deserialize(file.read_bytes())
        settings.set_runtime_cache(cache)
        return cls(settings, cache, file)

    def save(self) -> None:
        """Writes the file; if that fails, the next process compiles again."""
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.file) as temporary:
                temporary.write_bytes(bytes(self.cache.serialize()))


def load_engine(path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig) -> TensorRTRuntime:
    """Loads a TensorRT engine onto the GPU.

    Args:
        path: The engine's file.
        record: Its record in the bundle's manifest.
        config: The network.

    Raises:
        InputError: If this machine cannot run it; the message states the reason, such as "no CUDA device: ...".

    Example:
        >>> from unet_export import load_engine, open_bundle
        >>> def first_engine(folder):  # on a machine with a GPU
        ...     bundle = open_bundle(folder)
        ...     return load_engine(bundle.engine_path(bundle.engines[0]), bundle.engines[0], bundle.config)
    """
    return TensorRTRuntime(path, record, config)


def _cuda() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise InputError("running an engine needs cuda-python; pip install cuda-python") from None
