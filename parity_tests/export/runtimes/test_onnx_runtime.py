"""ONNX Runtime compared with the reference, and models and images that it refuses."""

import subprocess
import sys

import numpy as np
import pytest

from unet_spec import InputError, preset, random_tensors
from unet_spec.families.unet import PRESETS

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import OnnxRuntime, emit_onnx, load, onnx_bytes
from unet_export.runtimes import onnx_runtime

from ...fixtures.onnx_cases import CASES, PAPER, distance, reference, sample


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_agrees_with_the_reference_at_two_sizes(name):
    config = CASES[name]
    tensors = random_tensors(config.graph, 1)
    model = emit_onnx(config, tensors)
    onnx.checker.check_model(model, full_check=True)
    runtime = OnnxRuntime(onnx_bytes(model))
    for batch, extra in ((2, 1), (1, 2)):
        images = sample(config, batch, extra)
        logits = runtime.run(images)
        assert logits.dtype == np.float32
        assert distance(logits, reference(config, tensors, images)) <= 1e-5


def test_files_that_are_no_model_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match=r"cannot read .*model\.onnx: No such file"):
        OnnxRuntime(path)
    content = onnx_bytes(emit_onnx(PAPER, random_tensors(PAPER.graph, 0)))
    for junk, message in (
        (b"", "is empty"),
        (b"just some text, no protobuf\n" * 9, "is not an ONNX model|is not an ONNX model of this project"),
        (b"a", "is not an ONNX model|is not an ONNX model of this project"),
        (content[: len(content) // 2], "is not an ONNX model"),
        (content[:-10], "is not an ONNX model|does not pass"),
    ):
        path.write_bytes(junk)
        with pytest.raises(InputError, match=message) as caught:
            OnnxRuntime(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_images_that_do_not_fit_are_refused():
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(PAPER, random_tensors(PAPER.graph, 0))), threads=1)
    with pytest.raises(InputError, match="nearest valid per axis: 48, 48 or 52"):
        runtime.run(np.zeros((1, 48, 50, 1), np.float32))
    with pytest.raises(InputError, match="float32 images, not float64"):
        runtime.run(np.zeros((1, 48, 48, 1)))
    with pytest.raises(InputError, match="3 channels"):
        runtime.run(np.zeros((1, 48, 48, 3), np.float32))
    with pytest.raises(InputError, match="contains no image"):
        runtime.run(np.zeros((0, 48, 48, 1), np.float32))


def test_importing_the_package_imports_no_runtime():
    code = "import sys, unet_export; print({'onnx', 'onnxruntime', 'tensorrt_rtx', 'torch', 'jax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


@pytest.mark.slow
def test_the_full_width_agrees_too():
    config = PRESETS["article"]
    tensors = random_tensors(config.graph, 1)
    images = np.random.default_rng(0).normal(size=(1, 188, 204, 1)).astype(np.float32)
    logits = OnnxRuntime(onnx_bytes(emit_onnx(config, tensors))).run(images)
    assert distance(logits, reference(config, tensors, images)) <= 1e-5


def image(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 1)).astype(np.uint8)


def test_memory_that_runs_out_in_onnx_runtime_is_one_line(bundle, monkeypatch):
    class Session:
        def get_providers(self):
            return ["CUDAExecutionProvider"]

        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer\nand more")

    monkeypatch.setattr(onnx_runtime, "open_session", lambda *_: Session())
    with pytest.raises(InputError, match=r"fails on \{'image': .*Failed to allocate memory for requested buffer$"):
        load(bundle, "onnx")(image(0, 30, 30))


def test_the_arena_has_no_limit_and_grows_by_what_is_asked_for(monkeypatch):
    """ONNX Runtime's default doubles. 0: no limit; strategy 1: as requested; −1: the default."""
    made = []
    monkeypatch.setattr(ort, "OrtArenaCfg", lambda given: given)
    monkeypatch.setattr(ort, "create_and_register_allocator", lambda memory, growth: made.append((memory, growth)))
    onnx_runtime._register_arena.__wrapped__()
    [(memory, growth)] = made
    assert (memory.name, memory.device_id) == ("Cpu", 0)
    assert growth == {
        "max_mem": 0, "arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "providers", "plain", "shared"),
    [
        ("fp32", ["cpu"], False, True),
        ("int8", ["cpu"], True, True),
        ("fp8", ["cpu"], True, True),
        ("int8", ["cuda", "cpu"], False, False),
        ("fp16", ["cuda", "cpu"], False, False),
    ],
)
def test_options_of_a_session(precision, providers, plain, shared, monkeypatch):
    """Quantised models on a CPU run without fusions; sessions on a CPU share one arena."""
    made = []

    def session(content, options, providers):
        made.append((content, options, providers))
        return "the session"

    used = []
    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr(onnx_runtime, "chosen_providers", lambda asked: {"p": providers}[asked])
    monkeypatch.setattr(onnx_runtime, "check_used", lambda *given: used.append(given))
    monkeypatch.setattr(onnx_runtime, "_register_arena", lambda: None)
    assert onnx_runtime.open_session(b"model", precision, "x", 3, "p") == "the session"
    [(content, options, given)] = made
    assert (content, given, used) == (b"model", providers, [("p", "the session")])
    level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL if plain else ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    assert options.graph_optimization_level == level
    assert (options.intra_op_num_threads, options.enable_mem_pattern, options.log_severity_level) == (3, False, 3)
    if shared:
        assert options.get_session_config_entry("session.use_env_allocators") == "1"
    else:
        with pytest.raises(RuntimeError):
            options.get_session_config_entry("session.use_env_allocators")


def test_a_model_that_onnx_runtime_refuses_is_one_line():
    with pytest.raises(InputError, match=r"^ONNX Runtime cannot load m\.onnx: ") as caught:
        onnx_runtime.open_session(b"no model", "fp32", "m.onnx", 1, "cpu")
    assert "\n" not in str(caught.value)
    assert onnx_runtime.version() == ort.__version__


def test_noise_goes_to_its_input_and_zeros_are_the_default():
    config = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)
    runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, random_tensors(config.graph, 0))), threads=1)
    asked = []

    class Session:
        def run(self, outputs, inputs):
            asked.append((outputs, inputs))
            return [np.zeros((1, 2, 8, 12), np.float32)]

    runtime._session = Session()
    images = np.ones((1, 8, 12, 1), np.float32)
    assert runtime.run(images).shape == (1, 8, 12, 2)
    runtime.run(images, np.full((4, 3), 0.5))
    assert [outputs for outputs, _ in asked] == [["logits"], ["logits"]]
    assert [list(inputs) for _, inputs in asked] == [["image"], ["image", "noise"]]
    noise = asked[1][1]["noise"]
    assert (noise.shape, noise.dtype, noise.max()) == ((4, 3), np.float32, 0.5)
    runtime.close()
    with pytest.raises(InputError, match="this model was closed; load it again"):
        runtime.run(images)
