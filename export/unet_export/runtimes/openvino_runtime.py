"""OpenVINO: runs the float32 model on Intel processors. Optional: `pip install 'unet-twins[openvino]'`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError

from ..onnx.check import config_of, read_onnx
from .batch import Reopened, absolute, model_input, thread_count

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
            threads: None: the cores that this process may use.
            device: OpenVINO's name of the device.

        Raises:
            InputError: If `read_onnx` raises it, `threads` is below 1, OpenVINO is not installed, or it refuses the
                model.
        """
        openvino = _openvino()
        self.opened = (absolute(source), threads, device)
        content, model, where = read_onnx(source)
        self.config = config_of(model, where)
        self.version: str = openvino.__version__
        core = openvino.Core()
        try:
            # On some CPUs the default is bfloat16, also for float32 models.
            hint = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
            hint["INFERENCE_NUM_THREADS"] = str(thread_count(threads))
            self._model: Any = core.compile_model(core.read_model(content, b""), device, hint)
        except RuntimeError as e:
            raise InputError(f"OpenVINO cannot load {where}: {str(e).strip().splitlines()[-1]}") from None

    def run(self, images: Float32[np.ndarray, "n *spatial c"]) -> Float32[np.ndarray, "n *out k"]:
        """Computes logits (N, *out, K) of normalised images (N, *spatial, C) of a size on the grid.

        Raises:
            InputError: On a wrong dtype, number of axes or channels, or a size off the grid (the message names the
                nearest), after `close`, and if OpenVINO fails.
        """
        batch = model_input(self.config, images)
        if self._model is None:
            raise InputError("this model was closed; load it again")
        try:
            # A new request: threads can share a compiled model, but not a request.
            request = self._model.create_infer_request()
            logits = request.infer([batch])[0]
        except RuntimeError as e:
            reason = str(e).strip().splitlines()[-1]
            raise InputError(f"OpenVINO fails on a batch of {images.shape}: {reason}") from None
        return np.array(
            np.moveaxis(np.asarray(logits), 1, -1), order="C"
        )  # a copy, since the request's memory is freed

    def close(self) -> None:
        """Frees the model's memory. The runtime cannot run afterwards."""
        self._model = None


def _openvino() -> Any:
    try:
        import openvino
    except ImportError:
        raise InputError("OpenVINO is not installed; pip install 'unet-twins[openvino]'") from None
    return openvino
