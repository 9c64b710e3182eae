"""OpenVINO: the float32 model on Intel's processors. Optional: `pip install 'unet-twins[openvino]'`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.geometry import check_image

from .onnx_check import config_of, read_onnx
from .onnx_runtime import usable_cores


class OpenVinoRuntime:
    """A loaded model.

    Attributes:
        config: the network, from the model's metadata.
        version: of OpenVINO.
    """

    name = "openvino"

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None, device: str = "CPU"):
        """Loads a model from a path or from its bytes. `threads`: None takes the cores this process may use.

        Raises InputError where `read_onnx` does, where OpenVINO is not installed, and where it refuses the model.
        """
        openvino = _openvino()
        content, model, where = read_onnx(source)
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; it must be at least 1")
        self.config = config_of(model, where)
        self.version: str = openvino.__version__
        core = openvino.Core()
        try:
            # Its default on some CPUs is bfloat16, which is not what a float32 model says.
            hint = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads or usable_cores()}
            self._model: Any = core.compile_model(core.read_model(content, b""), device, hint)
        except RuntimeError as e:
            raise InputError(f"OpenVINO refuses {where}: {str(e).strip().splitlines()[-1]}") from None

    def run(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, already normalised, on the grid.

        Raises InputError on another dtype, number of axes or channels, or a size off the grid (naming the nearest).
        """
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        if self._model is None:
            raise InputError("this model was closed; load it again")
        try:
            # A request of its own: a compiled model is shared between threads, a request is not.
            request = self._model.create_infer_request()
            logits = request.infer([np.ascontiguousarray(np.moveaxis(images, -1, 1))])[0]
        except RuntimeError as e:
            reason = str(e).strip().splitlines()[-1]
            raise InputError(f"OpenVINO fails on a batch of {images.shape}: {reason}") from None
        return np.array(np.moveaxis(np.asarray(logits), 1, -1), order="C")  # a copy: the request's memory goes with it

    def close(self) -> None:
        """Gives the model's memory back. It cannot run afterwards."""
        self._model = None


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO is not installed; pip install 'unet-twins[openvino]'") from None
    return openvino
