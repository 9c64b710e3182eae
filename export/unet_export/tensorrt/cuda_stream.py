"""One CUDA stream, executed eagerly: an execution context, and the memory of its tensors on host and device.

    host array ─▶ pinned ─▶ device ─▶ network ─▶ device ─▶ pinned ─▶ host array
                  └─────────────── one stream ──────────────┘

The GPU copies pinned memory without the CPU. Memory is reused between batches and only grows.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from unet_spec import InputError


class CudaCalls:
    """Wraps the CUDA runtime API, whose calls return (error, value...): raises errors as InputError."""

    def __init__(self, module: Any, device: str):
        self.module, self.device = module, device

    def call(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self.module, name)(*arguments)
        if error != self.module.cudaError_t.cudaSuccess:
            raise InputError(f"CUDA on {self.device}: {name} answers {getattr(error, 'name', error)}")
        return values[0] if values else None


class Buffer:
    """Memory of one tensor, on the device and pinned on the host. `grow` replaces both if they are too small."""

    def __init__(self, cuda: CudaCalls):
        self.cuda, self.size, self.device, self.host = cuda, 0, 0, 0

    def grow(self, size: int) -> None:
        """Ensures a capacity of at least `size` bytes."""
        if size <= self.size:
            return
        self.free()
        self.device = int(self.cuda.call("cudaMalloc", size))
        self.host = int(self.cuda.call("cudaHostAlloc", size, 0))
        self.size = size

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """A view of the pinned memory as float32."""
        flat = (ctypes.c_float * math.prod(shape)).from_address(self.host)
        return np.ctypeslib.as_array(flat).reshape(shape)

    def free(self) -> None:
        for name, pointer in (("cudaFree", self.device), ("cudaFreeHost", self.host)):
            if pointer:
                self.cuda.call(name, pointer)
        self.size = self.device = self.host = 0


class CudaStream:
    """Runs one batch at a time. Threads may share one."""

    def __init__(self, cuda: CudaCalls, context: Any, output: str, file: str):
        self.cuda, self.output, self.file = cuda, output, file
        self.context: Any = context
        self.handle = cuda.call("cudaStreamCreate")
        self.buffers: dict[str, Buffer] = {}
        self.lock = threading.RLock()

    def run(self, inputs: Mapping[str, np.ndarray], logits: tuple[int, ...]) -> np.ndarray:
        """Computes a batch.

        Args:
            inputs: Contiguous float32 arrays by input name.
            logits: Shape of the output, channels first.

        Returns:
            The logits, float32, channels last.

        Raises:
            InputError: After `close`, and if the engine or CUDA fails.
        """
        with self.lock:
            if self.context is None:
                raise InputError(f"{self.file} was closed")
            shapes = {name: array.shape for name, array in inputs.items()} | {self.output: logits}
            for name, shape in shapes.items():
                self.buffers.setdefault(name, Buffer(self.cuda)).grow(4 * math.prod(shape))
            for name, array in inputs.items():
                np.copyto(self.buffers[name].array(array.shape), array)
            self._enqueue(shapes)
            self.cuda.call("cudaStreamSynchronize", self.handle)
            output = self.buffers[self.output].array(logits)
            return np.array(np.moveaxis(output, 1, -1), order="C")  # a copy, since the next batch overwrites the memory

    def close(self) -> None:
        """Frees the memory. Closing twice does nothing."""
        with self.lock:
            if self.context is not None:
                for buffer in self.buffers.values():
                    buffer.free()
                self.cuda.call("cudaStreamDestroy", self.handle)
                self.context = None

    def _enqueue(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Enqueues the copies to the device, the network, and the copy to the host."""
        kinds = self.cuda.module.cudaMemcpyKind
        for name, shape in shapes.items():
            buffer = self.buffers[name]
            self.context.set_tensor_address(name, buffer.device)
            if name != self.output:
                self.context.set_input_shape(name, shape)
                self._copy(buffer.device, buffer.host, shape, kinds.cudaMemcpyHostToDevice)
        if not self.context.execute_async_v3(int(self.handle)):
            raise InputError(f"{self.file} failed on a batch of {dict(shapes)}")
        result = self.buffers[self.output]
        self._copy(result.host, result.device, shapes[self.output], kinds.cudaMemcpyDeviceToHost)

    def _copy(self, target: int, source: int, shape: tuple[int, ...], kind: Any) -> None:
        self.cuda.call("cudaMemcpyAsync", target, source, 4 * math.prod(shape), kind, self.handle)
