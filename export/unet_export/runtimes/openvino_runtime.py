"""OpenVINO: the float32 model on Intel's processors. Optional: `pip install 'unet-twins[openvino]'`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError

from ..onnx.check import config_of, read_onnx
from .batch import Reopened, anywhere, model_input, thread_count

if TYPE_CHECKING:
    from jaxtyping import Float32


class OpenVinoRuntime(Reopened):
    """A model loaded in OpenVINO. Threads may share one.

    Attributes:
        name: "openvino".
        config: The network, from the model's metadata.
        version: Version of OpenVINO.

    Example:
        >>> from unet_export import OpenVinoRuntime, open_bundle
        >>> def segment(folder, images):  # where openvino is installed
        ...     return OpenVinoRuntime(open_bundle(folder).onnx).run(images)
    """

    name = "openvino"

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None, device: str = "CPU"):
        """Loads a float32 model of `emit_onnx`.

        Args:
            source: A path, or the file's bytes.
            threads: None takes the cores that this process may use.
            device: As OpenVINO names it.

        Raises:
            InputError: If `read_onnx` raises it, for fewer than one thread, where OpenVINO is not installed, and
                where it refuses the model.
        """
        openvino = _openvino()
        self.opened = (anywhere(source), threads, device)
        content, model, where = read_onnx(source)
        self.config = config_of(model, where)
        self.version: str = openvino.__version__
        core = openvino.Core()
        try:
            # Its default on some CPUs is bfloat16, which is not what a float32 model says.
            hint = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
            hint["INFERENCE_NUM_THREADS"] = str(thread_count(threads))
            self._model: Any = core.compile_model(core.read_model(content, b""), device, hint)
        except RuntimeError as e:
            raise InputError(f"OpenVINO cannot load {where}: {str(e).strip().splitlines()[-1]}") from None

    def run(self, images: Float32[np.ndarray, "n *spatial c"]) -> Float32[np.ndarray, "n *out k"]:
        """Computes logits (N, *out, K) of normalised images (N, *spatial, C) of a size on the grid.

        Raises:
            InputError: On another dtype, number of axes or channels, a size off the grid (naming the nearest), after
                `close`, and where OpenVINO fails.
        """
        batch = model_input(self.config, images)
        if self._model is None:
            raise InputError("this model was closed; load it again")
        try:
            # A request of its own: a compiled model is shared between threads, a request is not.
            request = self._model.create_infer_request()
            logits = request.infer([batch])[0]
        except RuntimeError as e:
            reason = str(e).strip().splitlines()[-1]
            raise InputError(f"OpenVINO fails on a batch of {images.shape}: {reason}") from None
        return np.array(np.moveaxis(np.asarray(logits), 1, -1), order="C")  # a copy: the request's memory goes with it

    def close(self) -> None:
        """Frees the model's memory. It cannot run afterwards."""
        self._model = None


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO is not installed; pip install 'unet-twins[openvino]'") from None
    return openvino
