"""Engines and GPUs that do not suit each other, and sizes that suit no network: one line before anything is loaded."""

import hashlib

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_export import EngineSettings, Profile, tensorrt_runtime, write_bundle
from unet_export.cuda_device import Device
from unet_export.engine_record import EngineRecord

CONFIG = PRESETS["paper"].replace(widths=(4, 8))


def record_for(content: bytes, **changes) -> EngineRecord:
    values = {"file": "e.plan", "backend": "tensorrt_rtx", "version": "1.0", "compute_capabilities": ("89",)}
    values |= {"precision": "fp16", "reproducible": True, "profile": Profile.fixed(1, 20, 20), "layer_types": {}}
    values |= {"bytes": len(content), "seconds": 0.0, "sha256": hashlib.sha256(content).hexdigest()}
    return EngineRecord(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"compute_capabilities": ("120",)}, "is for compute capability 120; Some GPU has 89; build one for it"),
        ({"version": "0.0.1"}, "was built by tensorrt_rtx 0.0.1; installed is|needs tensorrt_rtx 0.0.1"),
        ({"backend": "tensorrt_lite"}, "needs tensorrt_lite 1.0, which is not installed"),
        ({"sha256": "0" * 64}, "damaged or another"),
    ],
)
def test_engines_that_do_not_run_here(changes, told, tmp_path):
    (tmp_path / "e.plan").write_bytes(b"plan")
    with pytest.raises(InputError, match=told) as caught:
        tensorrt_runtime.check_engine(tmp_path / "e.plan", record_for(b"plan", **changes), Device("Some GPU", "89"))
    assert "\n" not in str(caught.value)


def test_a_gpu_without_memory_is_told_in_one_line(tmp_path, monkeypatch):
    """The runtime against stand-ins for driver and backend: what cudaMalloc answers when there is no more."""

    class Cuda:
        class cudaError_t:
            cudaSuccess = 0

        class cudaMemcpyKind:
            cudaMemcpyHostToDevice = cudaMemcpyDeviceToHost = 0

        def __getattr__(self, name):
            return lambda *_: ("cudaErrorMemoryAllocation", None) if name == "cudaMalloc" else (0, 1)

    class Engine:
        def __getattr__(self, name):
            return lambda *_: self if name == "create_execution_context" else "float32"

    class Backend:
        float32 = "float32"

        class Logger:
            ERROR = 0

            def __init__(self, *_):
                pass

        class Runtime:
            def __init__(self, *_):
                pass

            def deserialize_cuda_engine(self, plan):
                return Engine()

    monkeypatch.setattr(tensorrt_runtime, "find_device", lambda: Device("Some GPU", "89"))
    monkeypatch.setattr(tensorrt_runtime, "check_engine", lambda *_: b"plan")
    monkeypatch.setattr(tensorrt_runtime, "_cuda", Cuda)
    monkeypatch.setattr(tensorrt_runtime.importlib, "import_module", lambda name: Backend)
    runtime = tensorrt_runtime.load_engine(tmp_path / "e.plan", record_for(b"plan", backend="tensorrt"), CONFIG)
    with pytest.raises(InputError, match="CUDA on Some GPU: cudaMalloc answers cudaErrorMemoryAllocation"):
        runtime.run(np.zeros((1, 20, 20, 1), np.float32))
    with pytest.raises(InputError, match=r"a batch of \(2, 20, 20\) is outside this engine's profile"):
        runtime.run(np.zeros((2, 20, 20, 1), np.float32))


def test_a_profile_off_the_grid(tmp_path):
    with pytest.raises(InputError, match="profile max: input 21x20 does not fit"):
        write_bundle(
            Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2)),
            tmp_path / "b",
            settings=EngineSettings(Profile((1, 20, 20), (1, 20, 20), (1, 21, 20))),
        )
    assert not list(tmp_path.iterdir())
