"""MNN: the model on any CPU, fast and less exact.

Its Winograd convolutions need fewer multiplications than ONNX Runtime's and round more: some 1e-4 to 1e-3 of the
largest logit, where ONNX Runtime has 1e-6. So it is never chosen unasked.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from unet_spec import InputError
from unet_spec.geometry import check_image

from .onnx_check import config_of, read_onnx
from .onnx_ops import INPUT, OUTPUT
from .onnx_runtime import usable_cores

DEVIATION = 2e-3
"""Of the largest logit: twice what `python -m unet_tools.bench_tiles speed` found on random weights."""


class MnnRuntime:
    """A loaded model.

    Attributes:
        config: the network, from the model's metadata.
        version: of MNN.
    """

    name = "mnn"

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None):
        """Converts an ONNX model, from a path or its bytes. `threads`: None takes the cores this process may use.

        Raises InputError where `read_onnx` does, where MNN is not installed, and where its converter fails.
        """
        try:
            with _silent():
                import MNN.nn
        except ModuleNotFoundError:
            raise InputError("MNN is not installed; pip install 'unet-twins[mnn]'") from None
        content, model, where = read_onnx(source)
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; it must be at least 1")
        self.config = config_of(model, where)
        if self.config.spatial_dims != 2:
            raise InputError(f"{where}: MNN runs 2-D networks only; use the runtime onnx")
        self.version: str = version("MNN")
        with tempfile.TemporaryDirectory() as folder, _silent():
            path = _convert(content, Path(folder), where)
            settings = {"backend": "CPU", "numThread": threads or usable_cores(), "precision": "high"}
            self._manager = MNN.nn.create_runtime_manager((settings,))  # type: ignore[attr-defined]
            self._module = MNN.nn.load_module_from_file(str(path), [INPUT], [OUTPUT], runtime_manager=self._manager)
        self._lock = threading.Lock()  # one module holds one set of activations

    def run(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, *spatial, K) float32 of images (N, *spatial, C) float32, already normalised, on the grid.

        Raises InputError on another dtype, number of axes or channels, or a size off the grid (naming the nearest).
        """
        import MNN.expr

        expr: Any = MNN.expr  # a compiled module without types
        if images.dtype != np.float32:
            raise InputError(f"the network takes float32 images, not {images.dtype}")
        check_image(self.config.graph, images.shape)
        if not len(images):
            raise InputError(f"an image batch of shape {images.shape} holds no image")
        x = np.ascontiguousarray(np.moveaxis(images, -1, 1))
        with self._lock:
            result = self._module.forward(expr.const(x, list(x.shape), expr.NCHW, expr.float))
            result = result[0] if isinstance(result, list | tuple) else result
            logits = np.array(expr.convert(result, expr.NCHW).read())
        return np.ascontiguousarray(np.moveaxis(logits, 1, -1))


@contextmanager
def _silent() -> Iterator[None]:
    """Sends what MNN prints about the processor to standard error: standard output belongs to results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has printed and still holds
        os.dup2(kept, 1)
        os.close(kept)


def _convert(content: bytes, folder: Path, where: str) -> Path:
    """MNN's own converter, in a process of its own: it prints as it likes, and ends the process when it fails.

    The native function, not the package's `MNN.tools`: importing that installs another package with pip and reports
    to its maker's servers.
    """
    source, target = folder / "model.onnx", folder / "model.mnn"
    source.write_bytes(content)
    script = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
    arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "unet"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=folder)
    if done.returncode or not target.is_file():
        told = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
        raise InputError(f"MNN's converter refuses {where}: {told[-1][:200]}")
    return target
