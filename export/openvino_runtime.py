"""OpenVINO: the float32 model on Intel CPUs and GPUs. Optional: `pip install openvino`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.geometry import check_image

from .onnx_check import config_of, read_onnx


class OpenVinoRuntime:
    """A loaded model.

    Attributes:
        config: the network, from the model's metadata.
        version: of OpenVINO.
    """

    name = "openvino"

    def __init__(self, source: bytes | str | os.PathLike[str], device: str = "CPU"):
        """Loads a model from a path or from its bytes. Raises InputError where `read_onnx` does, where OpenVINO is not
        installed, and where it refuses the model."""
        openvino = _openvino()
        content, model, where = read_onnx(source)
        self.config = config_of(model, where)
        self.version: str = openvino.__version__
        core = openvino.Core()
        try:
            # Its default on some CPUs is bfloat16, which is not what a float32 model says.
            hint = {"INFERENCE_PRECISION_HINT": "f32"}
            self._model = core.compile_model(core.read_model(content, b""), device, hint)
        except RuntimeError as e:
            raise InputError(f"OpenVINO refuses {where}: {str(e).strip().splitlines()[-1]}") from None

    def run(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, already normalised, on the grid.

        Raises InputError on another dtype, number of axes or channels, or a size off the grid (naming the nearest).
        """
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        # A request of its own: a compiled model is shared between threads, a request is not.
        request = self._model.create_infer_request()
        logits = request.infer([np.ascontiguousarray(np.moveaxis(images, -1, 1))])[0]
        return np.ascontiguousarray(np.moveaxis(np.asarray(logits), 1, -1))


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO is not installed; pip install openvino") from None
    return openvino
