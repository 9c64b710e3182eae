"""ONNX Runtime: runs the model on any CPU, or on a CUDA device if the installed ONNX Runtime supports it."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError
from unet_spec.files import first_line
from unet_spec.ops import check_noise

from ..onnx.check import config_of, read_onnx, recipe_of
from ..onnx.ops import INPUT, OUTPUT
from ..precision.formats import QUANTIZED
from .batch import Reopened, absolute, model_input, thread_count
from .providers import check_used, chosen_providers

if TYPE_CHECKING:
    from jaxtyping import Float, Float32


class OnnxRuntime(Reopened):
    """A model loaded in ONNX Runtime. Threads may share one; a pickled or copied one opens the model again.

    Attributes:
        name: "onnx".
        config: The network, from the model's metadata.
        precision: Precision of the file. On a CPU, ONNX Runtime computes fp16 in float32.
        provider: Execution provider, such as "CPUExecutionProvider".
        version: Version of ONNX Runtime.

    Example:
        >>> import numpy as np
        >>> from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
        >>> from unet_spec import preset, random_tensors
        >>> config = preset("same", widths=(4, 8))
        >>> runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0))), threads=1)
        >>> runtime.run(np.zeros((1, 32, 32, 1), np.float32)).shape
        (1, 32, 32, 2)
    """

    name = "onnx"

    def __init__(
        self,
        source: bytes | str | os.PathLike[str],
        threads: int | None = None,
        provider: str | None = None,
    ):
        """Loads a model of `emit_onnx`.

        Args:
            source: A path, or the file's bytes.
            threads: None: the cores that this process may use.
            provider: "cpu", "cuda", "tensorrt", "tensorrt-rtx", "openvino", "directml", "coreml" or "webgpu", if the
                installed ONNX Runtime contains it. None: a CUDA device if possible, otherwise the CPU.

        Raises:
            InputError: If `read_onnx` raises it, `threads` is below 1, the provider is not installed or does not run
                here, or ONNX Runtime refuses the model.
        """
        self.opened = (absolute(source), threads, provider)
        content, model, where = read_onnx(source)
        self.config = config_of(model, where)
        self.precision = recipe_of(model, where).precision
        self._session: Any = open_session(content, self.precision, where, threads, provider)
        self.version = version()
        self.provider: str = self._session.get_providers()[0]

    def run(
        self, images: Float32[np.ndarray, "n *spatial c"], noise: Float[np.ndarray, "s features"] | None = None
    ) -> Float32[np.ndarray, "out_n *out k"]:
        """Computes logits.

        Args:
            images: (N, *spatial, C) float32, normalised, of a size on the network's grid.
            noise: Noise of a latent variable, (N, features), or (S, features) for S hypotheses of one image. None:
                zeros.

        Returns:
            Logits (N, *out, K), or (S, *out, K).

        Raises:
            InputError: On a wrong dtype, number of axes or channels, or a size off the grid (the message names the
                nearest), after `close`, and if ONNX Runtime fails.
        """
        inputs = {INPUT: model_input(self.config, images)}
        if noise is not None:
            inputs[check_noise(self.config.graph, len(images), noise)] = noise.astype(np.float32)
        (logits,) = run_session(self._session, [OUTPUT], inputs)
        return np.ascontiguousarray(np.moveaxis(logits, 1, -1))

    def close(self) -> None:
        """Frees the model's memory after the current batch. The runtime cannot run afterwards."""
        self._session = None


def version() -> str:
    """Version of the installed ONNX Runtime."""
    import onnxruntime as ort

    return ort.__version__


def open_session(
    content: bytes, precision: str, where: str, threads: int | None = None, provider: str | None = None
) -> Any:
    """Creates an `onnxruntime.InferenceSession` of a checked model. Raises InputError if ONNX Runtime refuses it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    providers = chosen_providers(provider)
    if precision in QUANTIZED and len(providers) == 1:
        # On CPUs without VNNI, ONNX Runtime's int8 kernels add in 16 bits and saturate. Without fusion it computes in
        # float32.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = thread_count(threads)
    # From the second run of a shape on, a memory pattern allocates a second arena: up to twice the memory.
    options.enable_mem_pattern = False
    if len(providers) == 1:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3  # errors only; it warns about missing GPUs
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    except Exception as e:  # its exceptions have no common base class
        raise InputError(f"ONNX Runtime cannot load {where}: {first_line(e)}") from None
    check_used(provider, session)
    return session


def run_session(session: Any, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Runs a session. Raises InputError if it was closed, or if ONNX Runtime fails, for example out of memory."""
    if session is None:
        raise InputError("this model was closed; load it again")
    try:
        return session.run(outputs, inputs)
    except Exception as e:
        shapes = {name: array.shape for name, array in inputs.items()}
        raise InputError(f"ONNX Runtime fails on {shapes}: {first_line(e)}") from None


@functools.cache
def _register_arena() -> None:
    """Registers one arena for all sessions of this process, which grows by the requested size. ONNX Runtime's default
    arena doubles, so its size is rounded up to powers of two."""
    import onnxruntime as ort

    growth = {"max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(growth))
