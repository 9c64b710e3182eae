"""ONNX Runtime: the model on any CPU, or on a CUDA device where the installed ONNX Runtime has one."""

from __future__ import annotations

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
        import onnxruntime as ort

        content, model, where = read_onnx(source)
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; it must be at least 1")
        self.config = config_of(model, where)
        self.precision = recipe_of(model, where).precision
        self.version: str = ort.__version__
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        providers = _providers(ort)
        if self.precision in QUANTIZED and len(providers) == 1:
            # Its int8 kernels add in 16 bits where the CPU has no VNNI, and saturate; unfused, float32 is exact.
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads or usable_cores()
        # From a shape's second run on, a pattern holds a second arena beside the first: up to twice the memory.
        options.enable_mem_pattern = False
        options.log_severity_level = 3  # errors; it warns on standard error of every GPU that it does not find
        try:
            self._session = ort.InferenceSession(content, options, providers=providers)
        except Exception as e:  # its exceptions share no base class of their own
            raise InputError(f"ONNX Runtime refuses {where}: {str(e).strip().splitlines()[0]}") from None
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
        (logits,) = self._session.run([OUTPUT], given)
        return np.ascontiguousarray(np.moveaxis(np.asarray(logits), 1, -1))


def usable_cores() -> int:
    """Cores that this process may use: a container or a scheduler often grants fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _providers(ort: Any) -> list[Any]:
    providers: list[Any] = ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" in ort.get_available_providers():
        # TF32 keeps ten bits of each factor: float32 in name only.
        providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
    return providers
