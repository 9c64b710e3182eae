"""MNN: the model on any CPU, faster than ONNX Runtime.

Its Winograd convolutions compute blocks of outputs with fewer multiplications than a direct convolution takes: 2.25
times fewer for blocks of 2 x 2, 5.06 times fewer for 6 x 6 (Lavin and Gray 2015, arXiv 1509.09308). The constants of
the larger blocks' transforms differ by orders of magnitude, which costs digits. So there are two runtimes of it: "mnn",
whose smallest blocks round as little as ONNX Runtime does (and which has none where a kernel is larger than 3), and
"mnn-fast", which is as MNN is by default, some 1e-3 of the largest logit from the others. Its "precision" has nothing
to do with that.
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
from unet_spec.ops import Conv

from .onnx_check import config_of, read_onnx
from .onnx_ops import INPUT, OUTPUT
from .onnx_runtime import usable_cores

DEVIATION = 2e-3
"""Of "mnn-fast", relative to the largest logit: more than `python -m unet_tools.bench_tiles speed` finds."""
_WINOGRAD_LEVEL, _NO_BLOCKS, _SMALLEST_BLOCKS = 3, 0, 1
"""MNN's hint WINOGRAD_MEMORY_LEVEL: at 1 only the smallest blocks are chosen, at 0 none, at 3 the fastest."""
_LARGEST_KERNEL = 3
"""For larger ones the transform of even the smallest block is large: a 7x7 kernel loses a digit (2e-5)."""


class MnnRuntime:
    """A loaded model.

    Attributes:
        name: "mnn" or "mnn-fast".
        config: the network, from the model's metadata.
        version: of MNN.
    """

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None, fast: bool = False):
        """Converts an ONNX model, from a path or its bytes. `threads`: None takes the cores this process may use.

        fast: larger blocks of Winograd's convolution, at the price of `DEVIATION`.

        Raises InputError where `read_onnx` does, where MNN is not installed, and where its converter fails.
        """
        content, model, where = read_onnx(source)
        if threads is not None and threads < 1:
            raise InputError(f"threads is {threads}; it must be at least 1")
        self.name = "mnn-fast" if fast else "mnn"
        self.config = config_of(model, where)
        if self.config.spatial_dims != 2:
            raise InputError(f"{where}: MNN runs 2-D networks only; use the runtime onnx")
        try:
            with _silent():
                import MNN.nn
        except ModuleNotFoundError:
            raise InputError("MNN is not installed; pip install 'unet-twins[mnn]'") from None
        self.version: str = version("MNN")
        with tempfile.TemporaryDirectory() as folder, _silent():
            path = _convert(content, Path(folder), where)
            settings = {"backend": "CPU", "numThread": threads or usable_cores(), "precision": "high"}
            self._manager = MNN.nn.create_runtime_manager((settings,))  # type: ignore[attr-defined]
            if not fast:
                kernels = [k for node in self.config.graph if isinstance(node.op, Conv) for k in node.op.kernel]
                blocks = _SMALLEST_BLOCKS if max(kernels) <= _LARGEST_KERNEL else _NO_BLOCKS
                self._manager.set_hint(_WINOGRAD_LEVEL, blocks)
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
