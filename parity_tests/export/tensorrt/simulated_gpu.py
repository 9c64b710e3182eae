"""A simulated GPU. Its memory is host memory, and a stream runs only when it is synchronised, so that results that are
read too early or from replaced memory are wrong."""

import ctypes
import itertools
from types import SimpleNamespace

import numpy as np

from unet_export.onnx.ops import INPUT, OUTPUT
from unet_export.tensorrt import runtime as tensorrt_runtime
from unet_export.tensorrt.cuda_device import Device
from unet_export.tensorrt.engine_record import EngineRecord
from unet_export.tensorrt.profile import Profile
from unet_spec import preset, random_tensors

CONFIG = preset("paper", widths=(2, 3), dropout=0.0, out_channels=1)  # with one channel, all layouts are the same
TENSORS = random_tensors(CONFIG.graph, 0, np.float32)
PROFILE = Profile((1, 20, 20), (1, 32, 32), (4, 64, 64))


class Simulator:
    """The used part of CUDA's runtime API, and a backend whose engines compute CONFIG in NumPy."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    float32 = "float32"
    EngineValidity = SimpleNamespace(INVALID=0)

    class Logger:
        ERROR = 0

        def __init__(self, level):
            pass

    def __init__(self, rtx=False):
        self.handles = itertools.count(1)
        self.memory, self.streams = {}, {}
        self.freed = []
        self.executions = 0
        self.fails = False
        self.rtx = rtx
        self.valid = 1
        runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: Engine(self))
        if rtx:
            runtime.get_engine_validity = lambda plan: (self.valid, 7)
        self.Runtime = lambda logger: runtime

    def cudaMalloc(self, size):
        buffer = (ctypes.c_char * size)(*b"\xff" * size)  # NaN in float32
        self.memory[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def cudaHostAlloc(self, size, flags):
        return self.cudaMalloc(size)

    def cudaFree(self, pointer):
        buffer = self.memory.pop(pointer)
        self.freed.append(buffer)  # not freed but filled with NaN, so that later reads are detected
        ctypes.memset(pointer, 0xFF, len(buffer))
        return (0,)

    cudaFreeHost = cudaFree

    def cudaStreamCreate(self):
        handle = next(self.handles)
        self.streams[handle] = []
        return 0, handle

    def cudaStreamDestroy(self, stream):
        del self.streams[stream]
        return (0,)

    def enqueue(self, stream, work):
        self.streams[stream].append(work)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))
        return (0,)

    def cudaStreamSynchronize(self, stream):
        for work in self.streams[stream]:
            work()
        self.streams[stream].clear()
        return (0,)


class Engine:
    def __init__(self, gpu):
        self.gpu = gpu
        if gpu.rtx:
            self.create_runtime_config = lambda: Settings(gpu)

    def get_tensor_dtype(self, name):
        return "float32"

    def create_execution_context(self, *settings):
        assert bool(settings) == self.gpu.rtx
        return Context(self.gpu)


class Settings:
    def __init__(self, gpu):
        self.gpu = gpu

    def create_runtime_cache(self):
        gpu = self.gpu
        gpu.given = None
        return SimpleNamespace(deserialize=lambda b: setattr(gpu, "given", b), serialize=lambda: b"compiled kernels")

    def set_runtime_cache(self, cache):
        pass


class Context:
    def __init__(self, gpu):
        self.gpu, self.addresses, self.shapes = gpu, {}, {}

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)

    def execute_async_v3(self, stream):
        addresses, shape = dict(self.addresses), self.shapes[INPUT]
        self.gpu.executions += 1

        def compute():
            size = int(np.prod(shape))
            x = np.frombuffer((ctypes.c_float * size).from_address(addresses[INPUT]), np.float32).reshape(shape)
            y = np.ascontiguousarray(np.moveaxis(CONFIG.graph.forward(TENSORS, np.moveaxis(x, 1, -1)), -1, 1))
            ctypes.memmove(addresses[OUTPUT], y.ctypes.data, y.nbytes)

        self.gpu.enqueue(stream, compute)
        return not self.gpu.fails


def loaded(gpu, monkeypatch, tmp_path):
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_runtime, "find_device", lambda: Device("Some GPU", "89"))
    monkeypatch.setattr(tensorrt_runtime, "check_engine", lambda *_: b"plan")
    monkeypatch.setattr(tensorrt_runtime, "_cuda", lambda: gpu)
    monkeypatch.setattr(tensorrt_runtime.importlib, "import_module", lambda name: gpu)
    backend = "tensorrt_rtx" if gpu.rtx else "tensorrt"
    record = EngineRecord("e.plan", backend, "1", (), "fp32", True, PROFILE, {}, 4, 0.0, "0" * 64)
    return tensorrt_runtime.load_engine(tmp_path / "e.plan", record, CONFIG)


def images(seed, *shape):
    return np.random.default_rng(seed).normal(size=(*shape, 1)).astype(np.float32)


def right(runtime, x):
    np.testing.assert_array_equal(runtime.run(x), CONFIG.graph.forward(TENSORS, x))
