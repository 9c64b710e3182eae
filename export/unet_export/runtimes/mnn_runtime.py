"""MNN: 2-D models on any CPU, faster than in ONNX Runtime.

Its Winograd convolutions need fewer multiplications than a direct convolution: 2.25 times fewer for blocks of 2 x 2
outputs, 5.06 times fewer for 6 x 6 (Lavin and Gray 2015, arXiv 1509.09308). The constants of the larger blocks'
transforms differ by orders of magnitude, which increases rounding errors. There are therefore two runtimes. "mnn" uses
the smallest blocks, whose rounding error is that of ONNX Runtime (and no blocks for kernels larger than 3). "mnn-fast"
uses MNN's default blocks and differs by about 1e-3 of the largest logit. MNN's setting "precision" does not change
that.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import InputError
from unet_spec.ops import Conv

from ..onnx.check import config_of, read_onnx
from ..onnx.ops import INPUT, OUTPUT
from .batch import Reopened, absolute, model_input, thread_count

if TYPE_CHECKING:
    from jaxtyping import Float32

DEVIATION = 2e-3
"""Maximum error of "mnn-fast", relative to the largest logit. It replaces `reference.FLOAT32_BOUND`, which large
Winograd blocks exceed in float32. `python -m benchmarks.tiles speed` measures less."""
_WINOGRAD_LEVEL, _NO_BLOCKS, _SMALLEST_BLOCKS = 3, 0, 1
"""MNN's hint WINOGRAD_MEMORY_LEVEL: 0: no blocks; 1: only the smallest blocks; 3: the fastest blocks."""
_LARGEST_KERNEL = 3
"""For larger kernels even the smallest block has a large transform: a 7x7 kernel has an error of 2e-5."""


class MnnRuntime(Reopened):
    """A model loaded in MNN. Threads may share one.

    Attributes:
        name: "mnn" or "mnn-fast".
        config: The network, from the model's metadata.
        version: Version of MNN.

    Example:
        >>> from unet_export import MnnRuntime, open_bundle
        >>> def segment(folder, images):  # where MNN is installed
        ...     return MnnRuntime(open_bundle(folder).onnx, fast=True).run(images)
    """

    def __init__(self, source: bytes | str | os.PathLike[str], threads: int | None = None, fast: bool = False):
        """Converts a float32 model of `emit_onnx`.

        Args:
            source: A path, or the file's bytes.
            threads: None: the cores that this process may use.
            fast: Larger Winograd blocks, with the error bound `DEVIATION`.

        Raises:
            InputError: If `read_onnx` raises it, the network is 3-D, `threads` is below 1, MNN is not installed, or its
                converter fails.
        """
        self.opened = (absolute(source), threads, fast)
        content, model, where = read_onnx(source)
        count = thread_count(threads)
        self.name = "mnn-fast" if fast else "mnn"
        self.config = config_of(model, where)
        if self.config.spatial_dims != 2:
            raise InputError(f"{where}: MNN supports 2-D networks only; use the runtime onnx")
        try:
            with _silent():
                nn: Any = importlib.import_module("MNN.nn")  # an extension module without types
        except ModuleNotFoundError:
            raise InputError("MNN is not installed; pip install 'unet-twins[mnn]'") from None
        self.version: str = version("MNN")
        with tempfile.TemporaryDirectory() as folder, _silent():
            path = _convert(content, Path(folder), where)
            settings = {"backend": "CPU", "numThread": count, "precision": "high"}
            self._manager = nn.create_runtime_manager((settings,))
            if not fast:
                kernels = [k for node in self.config.graph if isinstance(node.op, Conv) for k in node.op.kernel]
                blocks = _SMALLEST_BLOCKS if max(kernels) <= _LARGEST_KERNEL else _NO_BLOCKS
                self._manager.set_hint(_WINOGRAD_LEVEL, blocks)
            self._module = nn.load_module_from_file(str(path), [INPUT], [OUTPUT], runtime_manager=self._manager)
        self._lock = threading.Lock()  # a module has a single set of activations

    def run(self, images: Float32[np.ndarray, "n *spatial c"]) -> Float32[np.ndarray, "n *out k"]:
        """Computes logits (N, *out, K) of normalised images (N, *spatial, C) of a size on the grid.

        Raises:
            InputError: On a wrong dtype, number of axes or channels, and on a size off the grid (the message names the
                nearest).
        """
        expr: Any = importlib.import_module("MNN.expr")
        x = model_input(self.config, images)
        with self._lock:
            result = self._module.forward(expr.const(x, list(x.shape), expr.NCHW, expr.float))
            result = result[0] if isinstance(result, list | tuple) else result
            logits = np.array(expr.convert(result, expr.NCHW).read())
        return np.ascontiguousarray(np.moveaxis(logits, 1, -1))


@contextmanager
def _silent() -> Iterator[None]:
    """Redirects MNN's messages about the processor to standard error, since standard output is for results."""
    sys.stdout.flush()
    original = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's buffered output
        os.dup2(original, 1)
        os.close(original)


def _convert(content: bytes, folder: Path, where: str) -> Path:
    """Runs MNN's converter in a separate process, since it prints messages and ends its process when it fails.

    Calls the native function instead of `MNN.tools`, whose import installs another package with pip and contacts the
    vendor's servers.
    """
    source, target = folder / "model.onnx", folder / "model.mnn"
    source.write_bytes(content)
    script = "import sys, MNN, _tools; _tools.mnnconvert(sys.argv)"
    arguments = ["-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "unet"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, cwd=folder)
    if done.returncode or not target.is_file():
        reason = (done.stderr or done.stdout).strip().splitlines() or ["it gave no reason"]
        raise InputError(f"MNN's converter cannot convert {where}: {reason[-1][:200]}")
    return target
