"""How an engine is fed, against a simulated GPU: memory is host memory, and a stream does nothing before it is waited
for, so that a result read too early, or from memory that has moved, is not the right one."""

import ctypes
import itertools
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from unet_data.stitch import TwoPhase, compute_tiles, predict_tiled
from unet_export import tensorrt_runtime
from unet_export.cuda_device import Device
from unet_export.engine_record import EngineRecord
from unet_export.onnx_ops import INPUT, OUTPUT
from unet_export.tensorrt_profile import Profile
from unet_spec import InputError, preset, random_tensors
from unet_spec.tiling import plan_tiles

CONFIG = preset("paper", widths=(2, 3), dropout=0.0, out_channels=1)  # with one channel, any layout is the same
TENSORS = random_tensors(CONFIG.graph, 0, np.float32)
PROFILE = Profile((1, 20, 20), (1, 32, 32), (4, 64, 64))


class Simulator:
    """CUDA's runtime interface, as far as it is used, and a backend whose engines compute CONFIG in NumPy."""

    cudaError_t = SimpleNamespace(cudaSuccess=0)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=2)
    float32 = "float32"
    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE=1)
    EngineValidity = SimpleNamespace(INVALID=0)

    class Logger:
        ERROR = 0

        def __init__(self, level):
            pass

    def __init__(self, rtx=False):
        self.handles = itertools.count(1)
        self.memory, self.streams, self.graphs, self.capturing = {}, {}, {}, {}
        self.freed = []
        self.executions = self.launches = 0
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
        self.freed.append(buffer)  # kept and poisoned: whoever still reads it reads NaN
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
        self.capturing.get(stream, self.streams[stream]).append(work)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.enqueue(stream, lambda: ctypes.memmove(target, source, size))
        return (0,)

    def cudaStreamSynchronize(self, stream):
        for work in self.streams[stream]:
            work()
        self.streams[stream].clear()
        return (0,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.capturing[stream] = []
        return (0,)

    def cudaStreamEndCapture(self, stream):
        return 0, self.capturing.pop(stream)

    def cudaGraphInstantiate(self, graph, flags):
        handle = next(self.handles)
        self.graphs[handle] = list(graph)
        return 0, handle

    def cudaGraphDestroy(self, graph):
        return (0,)

    def cudaGraphExecDestroy(self, graph):
        del self.graphs[graph]
        return (0,)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        self.streams[stream] += self.graphs[graph]
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


@pytest.fixture
def gpu():
    return Simulator()


def test_batches_of_one_shape_are_recorded_once_and_replayed(gpu, monkeypatch, tmp_path):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    given = [images(seed, 1, 20, 24) for seed in range(10)]
    for x, found in zip(given, [runtime.run(x) for x in given], strict=True):  # none is written to by a later batch
        np.testing.assert_array_equal(found, CONFIG.graph.forward(TENSORS, x))
    assert gpu.executions == 4  # each of two lanes: run, then recorded
    assert gpu.launches == 8
    for seed in range(10):  # larger: memory moves, and what was recorded with the old addresses is gone
        right(runtime, images(seed, 2, 20 + 2 * (seed % 3), 28))
    for seed in range(4):
        right(runtime, images(seed, 1, 20, 24))
    runtime.close()
    assert not gpu.memory
    assert not gpu.streams
    assert not gpu.graphs
    runtime.close()
    with pytest.raises(InputError, match=r"e\.plan was closed"):
        runtime.run(images(0, 1, 20, 20))


def test_two_batches_are_under_way_and_no_more(gpu, monkeypatch, tmp_path):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    first, second = images(1, 1, 20, 20), images(2, 1, 20, 20)
    finish = [runtime.start(x) for x in (first, second)]
    assert sum(bool(work) for work in gpu.streams.values()) == 2
    with pytest.raises(InputError, match="two batches are being computed already"):
        runtime.start(first)
    for x, wait in zip((first, second), finish, strict=True):
        np.testing.assert_array_equal(wait(), CONFIG.graph.forward(TENSORS, x))
    runtime.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_of_an_image_overlap_and_are_right(gpu, monkeypatch, tmp_path, batch):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    image = images(3, 57, 41)
    plan = plan_tiles(CONFIG.geometry, image.shape[:-1], 28)
    most = 0

    def watched(x, start=runtime.start):
        nonlocal most
        finish = start(x)
        most = max(most, sum(bool(work) for work in gpu.streams.values()))
        return finish

    found = predict_tiled(TwoPhase(watched), image, plan, CONFIG.out_channels, batch)
    np.testing.assert_array_equal(found, predict_tiled(runtime.run, image, plan, CONFIG.out_channels, batch))
    one_by_one = predict_tiled(lambda x: runtime.run(x), image, plan, CONFIG.out_channels, batch)
    np.testing.assert_array_equal(found, one_by_one)
    wanted = predict_tiled(lambda x: CONFIG.graph.forward(TENSORS, x), image, plan, CONFIG.out_channels, batch)
    np.testing.assert_array_equal(found, wanted)
    assert most == 2
    runtime.close()


def test_what_fails_or_is_given_up_leaves_the_engine_free_for_other_threads(gpu, monkeypatch, tmp_path):
    runtime = loaded(gpu, monkeypatch, tmp_path)
    gpu.fails = True
    with pytest.raises(InputError, match=r"e\.plan failed on a batch"):
        runtime.run(images(0, 1, 20, 20))
    with pytest.raises(InputError, match=r"e\.plan failed on a batch"):
        predict_tiled(runtime.run, images(3, 57, 41), plan_tiles(CONFIG.geometry, (57, 41), 28), 1)
    gpu.fails = False
    tiles = compute_tiles(runtime.run, images(3, 57, 41), plan_tiles(CONFIG.geometry, (57, 41), 28), 1, range(4))
    next(tiles)
    tiles.close()  # and so does somebody who wants no more of them
    wrong = []

    def work(seed):
        for k in range(5):
            x = images(10 * seed + k, 1 + k % 2, 20, 24)
            if not np.array_equal(runtime.run(x), CONFIG.graph.forward(TENSORS, x)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong
    runtime.close()


def test_tensorrt_for_rtx_keeps_its_kernels_and_records_by_itself(monkeypatch, tmp_path):
    first = Simulator(rtx=True)
    runtime = loaded(first, monkeypatch, tmp_path)
    for seed in range(5):
        right(runtime, images(seed, 1, 20, 20))
    assert first.launches == 0
    assert first.given is None
    runtime.close()
    second = Simulator(rtx=True)
    loaded(second, monkeypatch, tmp_path).close()
    assert second.given == b"compiled kernels"
    second.valid = Simulator.EngineValidity.INVALID
    with pytest.raises(InputError, match=r"e\.plan is not valid on Some GPU \(diagnostics 7\)"):
        loaded(second, monkeypatch, tmp_path)
