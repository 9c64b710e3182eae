"""An engine is checked against the machine before it is loaded; on a GPU it agrees with the reference."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, InputError, preset, random_tensors

pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Distance, EngineSettings, Profile, build_engine, load_engine
from unet_export.reference import FLOAT32_BOUND, reference_logits
from unet_export.tensorrt import runtime as tensorrt_runtime
from unet_export.tensorrt.cuda_device import Device, find_device
from unet_export.tensorrt.engine_record import EngineRecord
from unet_export.tensorrt.runtime import RuntimeCache, check_engine
from unet_export.tensorrt.settings import RTX_CAPABILITIES, available_backends

from .tiny import PROFILE, TINY, model_bytes


def record_of(content: bytes, **changes) -> EngineRecord:
    values = {
        "file": "e.plan",
        "backend": "tensorrt_rtx",
        "version": "0.0.1",
        "compute_capabilities": ("89",),
        "precision": "fp32",
        "reproducible": True,
        "profile": PROFILE,
        "layer_types": {"FLOAT": 1},
        "bytes": len(content),
        "seconds": 0.0,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return EngineRecord(**values | changes)


def test_an_engine_is_held_against_the_machine_before_it_is_loaded(tmp_path):
    path, content = tmp_path / "e.plan", b"an engine"
    device = Device("Some GPU", "89")
    record = record_of(content)
    with pytest.raises(InputError, match="cannot read engine"):
        check_engine(path, record, device)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or was replaced"):
        check_engine(path, record_of(b"another"), device)
    with pytest.raises(InputError, match="is for compute capability 89; Old GPU has 75; build one for it"):
        check_engine(path, record, Device("Old GPU", "75"))
    with pytest.raises(InputError, match=r"needs nothing_of_this_name 0\.0\.1, which is not installed"):
        check_engine(path, record_of(content, backend="nothing_of_this_name"), device)
    if "tensorrt_rtx" in available_backends():
        with pytest.raises(InputError, match=r"was built by tensorrt_rtx 0\.0\.1, but \d"):
            check_engine(path, record, device)


@pytest.mark.gpu
def test_an_engine_agrees_with_the_reference_on_a_gpu(tmp_path):

    try:
        device = find_device()
    except InputError as e:
        pytest.skip(str(e))
    rtx = "tensorrt_rtx" in available_backends() and device.compute_capability in RTX_CAPABILITIES
    if not rtx and "tensorrt" not in available_backends():
        pytest.skip(f"no TensorRT that serves compute capability {device.compute_capability} is installed")
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    record = build_engine(
        model_bytes(),
        tmp_path / "e.plan",
        EngineSettings(
            PROFILE,
            backend="tensorrt_rtx" if rtx else "tensorrt",
            compute_capabilities=(device.compute_capability,) if rtx else None,
        ),
    )
    engine = load_engine(tmp_path / "e.plan", record, TINY)
    point = Checkpoint(TINY, random_tensors(TINY.graph, 0))
    for shape in ((1, 32, 40, 1), (2, 20, 64, 1)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert Distance.between(engine.run(images), reference_logits(point, images)).worst_relative <= FLOAT32_BOUND


def test_without_a_gpu_loading_says_so(tmp_path):
    try:
        find_device()
    except InputError:
        pass
    else:
        pytest.skip("there is a CUDA device")
    (tmp_path / "e.plan").write_bytes(b"x")
    with pytest.raises(InputError, match="no CUDA device: "):
        load_engine(tmp_path / "e.plan", record_of(b"x"), TINY)


PAPER = PRESETS["paper"].replace(widths=(4, 8))


def record_for(content: bytes, **changes) -> EngineRecord:
    values = {"file": "e.plan", "backend": "tensorrt_rtx", "version": "1.0", "compute_capabilities": ("89",)}
    values |= {"precision": "fp16", "reproducible": True, "profile": Profile.fixed(1, 20, 20), "layer_types": {}}
    values |= {"bytes": len(content), "seconds": 0.0, "sha256": hashlib.sha256(content).hexdigest()}
    return EngineRecord(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compute_capabilities": ("120",)}, "is for compute capability 120; Some GPU has 89; build one for it"),
        ({"version": "0.0.1"}, "was built by tensorrt_rtx 0.0.1, but .* is installed|needs tensorrt_rtx 0.0.1"),
        ({"backend": "tensorrt_lite"}, "needs tensorrt_lite 1.0, which is not installed"),
        ({"sha256": "0" * 64}, "damaged or was replaced"),
    ],
)
def test_engines_that_do_not_run_here(changes, message, tmp_path):
    (tmp_path / "e.plan").write_bytes(b"plan")
    with pytest.raises(InputError, match=message) as caught:
        tensorrt_runtime.check_engine(tmp_path / "e.plan", record_for(b"plan", **changes), Device("Some GPU", "89"))
    assert "\n" not in str(caught.value)


def test_a_gpu_without_memory_is_one_line(tmp_path, monkeypatch):
    """The runtime with stand-ins for driver and backend: cudaMalloc reports that memory is exhausted."""

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
    runtime = tensorrt_runtime.load_engine(tmp_path / "e.plan", record_for(b"plan", backend="tensorrt"), PAPER)
    with pytest.raises(InputError, match="CUDA on Some GPU: cudaMalloc answers cudaErrorMemoryAllocation"):
        runtime.run(np.zeros((1, 20, 20, 1), np.float32))
    with pytest.raises(InputError, match=r"a batch of \(2, 20, 20\) is outside this engine's profile"):
        runtime.run(np.zeros((2, 20, 20, 1), np.float32))


def engine_of(config, profile):
    """A runtime without its engine."""
    runtime = object.__new__(tensorrt_runtime.TensorRTRuntime)
    runtime.config, runtime.record = config, record_for(b"", profile=profile)
    return runtime


def test_inputs_have_channels_first_and_the_output_its_own_size():
    config = PAPER.replace(in_channels=2, out_channels=3)
    runtime = engine_of(config, Profile((1, 20, 20), (1, 32, 40), (4, 64, 64)))
    images = np.random.default_rng(0).normal(size=(2, 20, 24, 2)).astype(np.float32)
    inputs, shape = runtime._inputs(images, None)
    assert list(inputs) == ["image"]
    np.testing.assert_array_equal(inputs["image"], images.transpose(0, 3, 1, 2))
    assert shape == (2, 3, *config.geometry.output_shape((20, 24)))
    with pytest.raises(InputError, match=r"a batch of \(2, 18, 24\) is outside .*, \(1, 20, 20\) to \(4, 64, 64\)$"):
        runtime._inputs(images[:, :18], None)


def test_noise_is_zeros_or_what_is_given_up_to_the_limit():
    config = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)
    runtime = engine_of(config, Profile.fixed(1, 8, 12))
    images = np.zeros((1, 8, 12, 1), np.float32)
    inputs, shape = runtime._inputs(images, None)
    assert (inputs["noise"].tolist(), shape[0]) == ([[0, 0, 0]], 1)
    inputs, shape = runtime._inputs(images, np.ones((16, 3)))
    assert (inputs["noise"].dtype, inputs["noise"].shape, shape[0]) == (np.float32, (16, 3), 16)
    with pytest.raises(InputError, match="17 samples at once are outside this engine's profile; its limit is 16"):
        runtime._inputs(images, np.ones((17, 3)))


@pytest.mark.parametrize("present", [False, True])
def test_compiled_kernels_are_kept_in_a_file_of_the_engine(present, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorrt_runtime, "cache_folder", lambda: tmp_path / "cache")
    given, read = [], []
    cache = SimpleNamespace(serialize=lambda: b"kernels", deserialize=read.append)
    settings = SimpleNamespace(create_runtime_cache=lambda: cache, set_runtime_cache=given.append)
    engine = SimpleNamespace(create_runtime_config=lambda: settings)
    record = record_for(b"plan")
    file = tmp_path / "cache" / f"e.plan-{record.sha256[:16]}.cache"
    if present:
        file.parent.mkdir()
        file.write_bytes(b"old")
    opened = RuntimeCache.of(None, engine, record)
    assert opened == RuntimeCache(settings, cache, file)
    assert (given, read) == ([cache], [b"old"] if present else [])
    opened.save()
    assert file.read_bytes() == b"kernels"
    assert RuntimeCache.of(None, engine, record_for(b"plan", backend="tensorrt")) is None
