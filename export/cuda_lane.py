"""One lane through the GPU: an execution context with a stream, its memory on both sides, and recorded CUDA graphs.

    host array ─▶ pinned ─▶ device ─▶ network ─▶ device ─▶ pinned ─▶ host array
                  └──────── one stream; recorded as one graph ──────┘

Pinned memory is what the GPU can copy without the processor; memory is kept from batch to batch and only grows. While
one lane computes, another may copy: two lanes are a double buffer.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from unet_spec import InputError


class Buffer:
    """Memory of one tensor, on the device and pinned on the host. `grow` replaces both where they are too small."""

    def __init__(self, cuda: CudaCalls):
        self.cuda, self.size, self.device, self.host = cuda, 0, 0, 0

    def grow(self, size: int) -> bool:
        """Whether there is new memory, at other addresses."""
        if size <= self.size:
            return False
        self.free()
        self.device = int(self.cuda.ask("cudaMalloc", size))
        self.host = int(self.cuda.ask("cudaHostAlloc", size, 0))
        self.size = size
        return True

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """The pinned memory as float32."""
        flat = (ctypes.c_float * math.prod(shape)).from_address(self.host)
        return np.ctypeslib.as_array(flat).reshape(shape)

    def free(self) -> None:
        for name, pointer in (("cudaFree", self.device), ("cudaFreeHost", self.host)):
            if pointer:
                self.cuda.ask(name, pointer)
        self.size = self.device = self.host = 0


class CudaCalls:
    """The runtime interface of CUDA, whose calls answer (error, value...), with errors raised as InputError."""

    def __init__(self, module: Any, device: str):
        self.module, self.device = module, device

    def ask(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self.module, name)(*arguments)
        if error != self.module.cudaError_t.cudaSuccess:
            raise InputError(f"CUDA on {self.device}: {name} answers {getattr(error, 'name', error)}")
        return values[0] if values else None


class Lane:
    """Runs one batch at a time: `start`, then `finish`.

    Graphs: TensorRT asks that a shape has run once before it is recorded, so the second batch of a shape records and
    the third replays. `record` is false for TensorRT for RTX, which records by itself.
    """

    def __init__(self, cuda: CudaCalls, context: Any, output: str, record: bool, file: str):
        self.cuda, self.output, self.record, self.file = cuda, output, record, file
        self.context: Any = context
        self.stream = cuda.ask("cudaStreamCreate")
        self.buffers: dict[str, Buffer] = {}
        self.graphs: dict[tuple, Any] = {}  # by the shapes of the inputs; None: has run once
        self.shape: tuple[int, ...] | None = None  # of the logits that are being computed

    def start(self, given: Mapping[str, np.ndarray], logits: tuple[int, ...]) -> None:
        """Enqueues a batch. given: float32 arrays, contiguous, by the inputs' names; logits: the output's shape."""
        shapes = {name: array.shape for name, array in given.items()} | {self.output: logits}
        grown = [self._buffer(name).grow(4 * math.prod(shape)) for name, shape in shapes.items()]
        if any(grown):
            self._forget()  # graphs hold addresses
        for name, array in given.items():
            np.copyto(self.buffers[name].array(array.shape), array)
        key = tuple(sorted(shapes.items()))
        if (graph := self.graphs.get(key)) is not None:
            self.cuda.ask("cudaGraphLaunch", graph, self.stream)
        elif self.record and key in self.graphs:
            self.graphs[key] = self._recorded(shapes)
            self.cuda.ask("cudaGraphLaunch", self.graphs[key], self.stream)
        else:
            self._enqueue(shapes)
            self.graphs[key] = None
        self.shape = logits

    def finish(self) -> np.ndarray:
        """Waits, and gives the logits in memory that the next batch writes to."""
        assert self.shape is not None
        shape, self.shape = self.shape, None
        self.cuda.ask("cudaStreamSynchronize", self.stream)
        return self.buffers[self.output].array(shape)

    def close(self) -> None:
        self._forget()
        for buffer in self.buffers.values():
            buffer.free()
        self.cuda.ask("cudaStreamDestroy", self.stream)
        self.context = None

    def _buffer(self, name: str) -> Buffer:
        return self.buffers.setdefault(name, Buffer(self.cuda))

    def _enqueue(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        kinds = self.cuda.module.cudaMemcpyKind
        for name, shape in shapes.items():
            self.context.set_tensor_address(name, self.buffers[name].device)
            if name != self.output:
                self.context.set_input_shape(name, shape)
                self._copy(name, shape, to_device=True, kind=kinds.cudaMemcpyHostToDevice)
        if not self.context.execute_async_v3(int(self.stream)):
            raise InputError(f"{self.file} failed on a batch of {dict(shapes)}")
        self._copy(self.output, shapes[self.output], to_device=False, kind=kinds.cudaMemcpyDeviceToHost)

    def _copy(self, name: str, shape: tuple[int, ...], to_device: bool, kind: Any) -> None:
        buffer = self.buffers[name]
        target, source = (buffer.device, buffer.host) if to_device else (buffer.host, buffer.device)
        self.cuda.ask("cudaMemcpyAsync", target, source, 4 * math.prod(shape), kind, self.stream)

    def _recorded(self, shapes: Mapping[str, tuple[int, ...]]) -> Any:
        mode = self.cuda.module.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.cuda.ask("cudaStreamBeginCapture", self.stream, mode)
        try:
            self._enqueue(shapes)
        finally:
            graph = self.cuda.ask("cudaStreamEndCapture", self.stream)
        executable = self.cuda.ask("cudaGraphInstantiate", graph, 0)
        self.cuda.ask("cudaGraphDestroy", graph)
        return executable

    def _forget(self) -> None:
        for graph in self.graphs.values():
            if graph is not None:
                self.cuda.ask("cudaGraphExecDestroy", graph)
        self.graphs.clear()
