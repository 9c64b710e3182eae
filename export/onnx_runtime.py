"""ONNX Runtime: the model on any CPU, or on a CUDA device where the installed ONNX Runtime has one."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.geometry import check_image
from unet_spec.latent import check_noise

from .onnx_check import config_of, read_onnx, recipe_of
from .onnx_ops import INPUT, OUTPUT
from .precision import QUANTIZED


class OnnxRuntime:
    """A loaded model.

    Attributes:
        config: the network, from the model's metadata.
        precision: what the file says that it computes in. ONNX Runtime on a CPU computes fp16 in float32.
        provider: what runs it, such as "CPUExecutionProvider".
        version: of ONNX Runtime.
    """

    name = "onnx"

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None):
        """Loads a model from a path or from its bytes. `threads`: None takes the cores this process may use.

        Raises InputError where `read_onnx` does, and where ONNX Runtime refuses the model.
        """
        content, model, where = read_onnx(source)
        self.config = config_of(model, where)
        self.precision = recipe_of(model, where).precision
        self._session: Any = open_session(content, self.precision, where, threads)
        self.version = version()
        self.provider: str = self._session.get_providers()[0]

    def run(self, images: np.ndarray, noise: np.ndarray | None = None) -> np.ndarray:
        """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, already normalised, on the grid.

        noise: of a latent variable, (N, features) float32, or (S, features) for S hypotheses of one image; None: zeros.
        Raises InputError on another dtype, number of axes or channels, or a size off the grid (naming the nearest).
        """
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        if not len(images):
            raise InputError(f"an image batch of shape {images.shape} holds no image")
        given = {INPUT: np.ascontiguousarray(np.moveaxis(images, -1, 1))}
        if noise is not None:
            given[check_noise(self.config.graph, len(images), noise)] = noise.astype(np.float32)
        (logits,) = run_session(self._session, [OUTPUT], given)
        return np.ascontiguousarray(np.moveaxis(logits, 1, -1))

    def close(self) -> None:
        """Gives the model's memory back; a batch that is being computed is finished. It cannot run afterwards."""
        self._session = None


def version() -> str:
    """Of the installed ONNX Runtime."""
    import onnxruntime as ort

    return ort.__version__


def open_session(content: bytes, precision: str, where: str, threads: int | None = None) -> Any:
    """An `onnxruntime.InferenceSession` of a model that was checked. Raises InputError where it is refused."""
    import onnxruntime as ort

    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}; it must be at least 1")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    providers = _providers(ort)
    if precision in QUANTIZED and len(providers) == 1:
        # Its int8 kernels add in 16 bits where the CPU has no VNNI, and saturate; unfused, float32 is exact.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads or usable_cores()
    # From a shape's second run on, a pattern holds a second arena beside the first: up to twice the memory.
    options.enable_mem_pattern = False
    if len(providers) == 1:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3  # errors; it warns on standard error of every GPU that it does not find
    try:
        return ort.InferenceSession(content, options, providers=providers)
    except Exception as e:  # its exceptions share no base class of their own
        raise InputError(f"ONNX Runtime refuses {where}: {_first_line(e)}") from None


def run_session(session: Any, outputs: list[str], given: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The outputs. Raises InputError where the session was closed, and where ONNX Runtime fails: out of memory, say."""
    if session is None:
        raise InputError("this model was closed; load it again")
    try:
        return session.run(outputs, given)
    except Exception as e:
        shapes = {name: array.shape for name, array in given.items()}
        raise InputError(f"ONNX Runtime fails on {shapes}: {_first_line(e)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def usable_cores() -> int:
    """Cores that this process may use: a container or a scheduler often grants fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _register_arena() -> None:
    """One arena for all sessions of this process, which grows by what is asked for. ONNX Runtime's own doubles, so that
    what a tile takes would depend on how its maps happen to fill powers of two."""
    import onnxruntime as ort

    growth = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(growth))


def _providers(ort: Any) -> list[Any]:
    providers: list[Any] = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in ort.get_available_providers():
        # TF32 keeps ten bits of each factor: float32 in name only.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    return providers
