"""MNN: 2-D models on any CPU, faster than in ONNX Runtime.

Its Winograd convolutions compute blocks of outputs with fewer multiplications than a direct convolution takes: 2.25
times fewer for blocks of 2 x 2, 5.06 times fewer for 6 x 6 (Lavin and Gray 2015, arXiv 1509.09308). The constants of
the larger blocks' transforms differ by orders of magnitude, which costs digits. So it comes as two runtimes: "mnn",
whose smallest blocks round as little as ONNX Runtime does (and which uses none where a kernel is larger than 3), and
"mnn-fast", with MNN's default blocks, some 1e-3 of the largest logit from the others. Its setting "precision" does not
change that.
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
from .batch import Reopened, anywhere, model_input, thread_count

if TYPE_CHECKING:
    from jaxtyping import Float32

DEVIATION = 2e-3
"""The largest error of "mnn-fast", relative to the largest logit, in place of `reference.FLOAT32_BOUND`: float32 with
large Winograd blocks cannot keep that one. More than `python -m benchmarks.tiles speed` measures."""
_WINOGRAD_LEVEL, _NO_BLOCKS, _SMALLEST_BLOCKS = 3, 0, 1
"""MNN's hint WINOGRAD_MEMORY_LEVEL: at 1 only the smallest blocks are chosen, at 0 none, at 3 the fastest."""
_LARGEST_KERNEL = 3
"""For larger ones the transform of even the smallest block is large: a 7x7 kernel loses a digit (2e-5)."""


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
            threads: None takes the cores that this process may use.
            fast: Larger blocks of Winograd's convolution, at the price of `DEVIATION`.

        Raises:
            InputError: If `read_onnx` raises it, for a 3-D network, for fewer than one thread, where MNN is not
                installed, and where its converter fails.
        """
        self.opened = (anywhere(source), threads, fast)
        content, model, where = read_onnx(source)
        count = thread_count(threads)
        self.name = "mnn-fast" if fast else "mnn"
        self.config = config_of(model, where)
        if self.config.spatial_dims != 2:
            raise InputError(f"{where}: MNN supports 2-D networks only; use the runtime onnx")
        try:
            with _silent():
                nn: Any = importlib.import_module("MNN.nn")  # a compiled module without types
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
        self._lock = threading.Lock()  # one module holds one set of activations

    def run(self, images: Float32[np.ndarray, "n *spatial c"]) -> Float32[np.ndarray, "n *out k"]:
        """Computes logits (N, *out, K) of normalised images (N, *spatial, C) of a size on the grid.

        Raises:
            InputError: On another dtype, number of axes or channels, and a size off the grid (naming the nearest).
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
    """Redirects what MNN prints about the processor to standard error: standard output is for results."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)  # C's buffered output
        os.dup2(kept, 1)
        os.close(kept)


def _convert(content: bytes, folder: Path, where: str) -> Path:
    """Runs MNN's own converter in a process of its own: it prints, and ends the process when it fails.

    The native function, not the package's `MNN.tools`: importing that installs another package with pip and contacts
    its maker's servers.
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
