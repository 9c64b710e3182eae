"""Running engines of `tensorrt` and `tensorrt_rtx` on a GPU.

Unproven: the checks before loading are tested, but the loading and running below was written against the documented
interfaces and has not been run on a GPU yet. Needs cuda-python (`pip install cuda-python`) besides the backend.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_data.border_weights import cache_folder
from unet_data.stitch import TwoPhase
from unet_spec import InputError, NetworkConfig
from unet_spec.checkpoint import replacing
from unet_spec.geometry import check_image
from unet_spec.latent import check_noise, noise_input

from .cuda_device import Device, find_device
from .cuda_lane import CudaCalls, Lane
from .engine_record import EngineRecord
from .onnx_ops import INPUT, OUTPUT
from .tensorrt_backend import available_backends, most_hypotheses


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
    """A loaded engine: two lanes, so that one batch is copied while another is computed, behind one lock.

    Attributes:
        config: the network.
        record: what the engine is.
        device: what runs it.
        run: images (N, *spatial, C) float32, already normalised, to logits (N, *spatial, K) float32; see `start`. In
            two phases, so that `unet_data.stitch` starts a batch of tiles before it waits for the one before.
    """

    name = "tensorrt"

    def __init__(self, path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig):
        """Loads the engine. Raises InputError: no CUDA device, no cuda-python, and where `check_engine` does."""
        self.config, self.record = config, record
        self.device = find_device()
        plan = check_engine(path, record, self.device)
        cuda = CudaCalls(_cuda(), self.device.name)
        trt = importlib.import_module(record.backend)
        logger = trt.Logger(trt.Logger.ERROR)
        runtime = trt.Runtime(logger)
        if record.backend == "tensorrt_rtx":  # the only one that has this question
            validity, diagnostics = runtime.get_engine_validity(plan)
            if validity == trt.EngineValidity.INVALID:
                raise InputError(f"engine {path} is not valid on {self.device.name} (diagnostics {diagnostics})")
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise InputError(f"{record.backend} {record.version} cannot load engine {path} on {self.device.name}")
        for name in (INPUT, OUTPUT):
            if engine.get_tensor_dtype(name) != trt.float32:
                raise InputError(f"engine {path}: {name} is {engine.get_tensor_dtype(name)}, expected float32")
        self._engine: Any = engine
        self._runtime: Any = runtime  # the engine must not outlive it
        self._cache = RuntimeCache.of(trt, engine, record)
        self._lanes = [Lane(cuda, self._context(path), OUTPUT, self._cache is None, record.file) for _ in range(2)]
        self._next = 0
        self._lock = threading.RLock()
        self.run = TwoPhase(self.start)

    def start(self, images: np.ndarray, noise: np.ndarray | None = None) -> Callable[[], np.ndarray]:
        """Enqueues what `run` computes; the function returned waits and gives it. A third batch may be started when
        the first has been waited for. The lock is held in between: call both from one thread.

        noise: of a latent variable, (N, features) float32, or (S, features) for S hypotheses of one image (up to
        `most_hypotheses`); None: zeros.
        Raises InputError on another dtype, axes, channels, or a size off the grid or outside the engine's profile.
        """
        given, logits = self._inputs(images, noise)
        self._lock.acquire()
        try:
            if not self._lanes:
                raise InputError(f"{self.record.file} was closed")
            lane = self._lanes[self._next]
            if lane.shape is not None:
                raise InputError("two batches are being computed already; wait for the first")
            lane.start(given, logits)
            self._next = 1 - self._next
        except BaseException:
            self._lock.release()
            raise

        def finish() -> np.ndarray:
            try:
                return np.array(np.moveaxis(lane.finish(), 1, -1), order="C")  # a copy in any case
            finally:
                self._lock.release()

        return finish

    def close(self) -> None:
        """Frees what the GPU holds for this engine. It cannot run afterwards; closing twice does nothing."""
        with self._lock:
            if not self._lanes:
                return
            if self._cache is not None:
                self._cache.save()
            for lane in self._lanes:
                lane.close()
            self._lanes.clear()
            self._cache = self._engine = self._runtime = None

    def _context(self, path: str | os.PathLike[str]) -> Any:
        settings = () if self._cache is None else (self._cache.settings,)
        context = self._engine.create_execution_context(*settings)
        if context is None:
            raise InputError(f"engine {path}: no execution context; is the GPU's memory full?")
        return context

    def _inputs(self, images: np.ndarray, noise: np.ndarray | None) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
        """What the engine is given, by name, and the shape of what it gives, channels first."""
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        shape, profile = images.shape[:-1], self.record.profile
        if shape not in profile:
            raise InputError(f"a batch of {shape} is outside this engine's profile, {profile.min} to {profile.max}")
        given, rows = {INPUT: np.ascontiguousarray(np.moveaxis(images, -1, 1))}, len(images)
        if (node := noise_input(self.config.graph)) is not None and noise is None:
            noise = np.zeros((rows, node.op.channels()), np.float32)
        if noise is not None:
            name, rows = check_noise(self.config.graph, len(images), noise), len(noise)
            if rows > (most := most_hypotheses(profile)):
                raise InputError(f"{rows} hypotheses at once are outside this engine's profile; it takes up to {most}")
            given[name] = np.ascontiguousarray(noise, np.float32)
        return given, (rows, self.config.out_channels, *self.config.geometry.output_shape(shape[1:]))


@dataclass
class RuntimeCache:
    """The kernels that TensorRT for RTX compiles on the GPU at the first run, kept in a file for the next process.

    `settings` is handed to the execution contexts; it asks the backend to record CUDA graphs, too.
    """

    settings: Any
    cache: Any
    file: Path

    @classmethod
    def of(cls, trt: Any, engine: Any, record: EngineRecord) -> RuntimeCache | None:
        """None for a backend that has no such cache. A file of another GPU or version is refused by the backend, and
        then replaced."""
        if record.backend != "tensorrt_rtx":
            return None
        settings = engine.create_runtime_config()
        settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = settings.create_runtime_cache()
        file = cache_folder() / f"{record.file}-{record.sha256[:16]}.cache"
        if file.is_file():
            cache.deserialize(file.read_bytes())
        settings.set_runtime_cache(cache)
        return cls(settings, cache, file)

    def save(self) -> None:
        """Where the file cannot be written, the next process compiles again."""
        with contextlib.suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.file) as temporary:
                temporary.write_bytes(bytes(self.cache.serialize()))


def load_engine(path: str | os.PathLike[str], record: EngineRecord, config: NetworkConfig) -> TensorRTRuntime:
    """The engine, ready to run. Raises InputError as `TensorRTRuntime` does; without a GPU: "no CUDA device: ..."."""
    return TensorRTRuntime(path, record, config)


def _cuda() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        raise InputError("running an engine needs cuda-python; pip install cuda-python") from None
