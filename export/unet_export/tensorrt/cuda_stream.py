"""One CUDA stream, eagerly: an execution context and the memory of its tensors on both sides.

    host array ─▶ pinned ─▶ device ─▶ network ─▶ device ─▶ pinned ─▶ host array
                  └─────────────── one stream ──────────────┘

The GPU copies pinned memory without the processor. Memory is kept from batch to batch and only grows.
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
    """The CUDA runtime interface, whose calls return (error, value...), with errors raised as InputError."""

    def __init__(self, module: Any, device: str):
        self.module, self.device = module, device

    def ask(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self.module, name)(*arguments)
        if error != self.module.cudaError_t.cudaSuccess:
            raise InputError(f"CUDA on {self.device}: {name} answers {getattr(error, 'name', error)}")
        return values[0] if values else None


class Buffer:
    """Memory of one tensor, on the device and pinned on the host. `grow` replaces both where they are too small."""

    def __init__(self, cuda: CudaCalls):
        self.cuda, self.size, self.device, self.host = cuda, 0, 0, 0

    def grow(self, size: int) -> None:
        """Makes room for `size` bytes."""
        if size <= self.size:
            return
        self.free()
        self.device = int(self.cuda.ask("cudaMalloc", size))
        self.host = int(self.cuda.ask("cudaHostAlloc", size, 0))
        self.size = size

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """A view of the pinned memory as float32."""
        flat = (ctypes.c_float * math.prod(shape)).from_address(self.host)
        return np.ctypeslib.as_array(flat).reshape(shape)

    def free(self) -> None:
        for name, pointer in (("cudaFree", self.device), ("cudaFreeHost", self.host)):
            if pointer:
                self.cuda.ask(name, pointer)
        self.size = self.device = self.host = 0


class CudaStream:
    """Runs one batch at a time. Threads may share one."""

    def __init__(self, cuda: CudaCalls, context: Any, output: str, file: str):
        self.cuda, self.output, self.file = cuda, output, file
        self.context: Any = context
        self.handle = cuda.ask("cudaStreamCreate")
        self.buffers: dict[str, Buffer] = {}
        self.lock = threading.RLock()

    def run(self, inputs: Mapping[str, np.ndarray], logits: tuple[int, ...]) -> np.ndarray:
        """Computes a batch.

        Args:
            inputs: Contiguous float32 arrays by the inputs' names.
            logits: The output's shape, channels first.

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
            self.cuda.ask("cudaStreamSynchronize", self.handle)
            found = self.buffers[self.output].array(logits)
            return np.array(np.moveaxis(found, 1, -1), order="C")  # a copy: the next batch overwrites the memory

    def close(self) -> None:
        """Frees the memory. Closing twice does nothing."""
        with self.lock:
            if self.context is not None:
                for buffer in self.buffers.values():
                    buffer.free()
                self.cuda.ask("cudaStreamDestroy", self.handle)
                self.context = None

    def _enqueue(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Inputs to the device, the network, its output to the host."""
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
        self.cuda.ask("cudaMemcpyAsync", target, source, 4 * math.prod(shape), kind, self.handle)
