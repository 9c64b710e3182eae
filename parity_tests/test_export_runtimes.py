"""What runs a bundle: where, in which threads, until when; and the network as one file for other programs."""

import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")

from unet_export import load, onnx_runtime, write_bundle  # noqa: E402
from unet_tools.framework_exports import kind_of, write_framework_file  # noqa: E402

CONFIG = PRESETS["paper"].replace(widths=(4, 8))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2), DataSpec((0.5,), (0.2,)))
    return write_bundle(point, tmp_path_factory.mktemp("runtimes") / "bundle", engines=False)


def test_a_bundle_runs_where_neither_jax_nor_pytorch_is(bundle, tmp_path):
    """In a process in which importing either fails."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('jax', 'jaxlib', 'flax', 'optax', 'torch', 'unet_jax', 'unet_torch'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import numpy as np, unet_export\n"
        f"bundle = unet_export.load({str(bundle.folder)!r})\n"
        "print(bundle(np.zeros((1, 40, 40, 1), np.uint8)).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.strip() == "(1, 40, 40, 2)", done.stderr


def image(seed: int, *size: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, *size, 1)).astype(np.uint8)


def test_threads_share_a_predictor(bundle):
    """Of images of different sizes; a mix-up of memory would show."""
    with load(bundle, "onnx", threads=1) as predictor:
        images = [image(seed, 30 + 4 * seed, 41) for seed in range(4)]
        wanted = [predictor(x) for x in images]
        wrong = []

        def work(own: int) -> None:
            for _ in range(5):
                if not np.array_equal(predictor(images[own]), wanted[own]):
                    wrong.append(own)

        threads = [threading.Thread(target=work, args=(own,)) for own in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert not wrong


def test_what_is_closed_runs_no_more(bundle):
    with load(bundle, "onnx") as predictor:
        predictor(image(0, 30, 30))
    predictor.close()
    with pytest.raises(InputError, match="this model was closed; load it again"):
        predictor(image(0, 30, 30))


def test_memory_that_runs_out_in_onnx_runtime_is_told_in_one_line(bundle, monkeypatch):
    class Session:
        def get_providers(self):
            return ["CUDAExecutionProvider"]

        def run(self, *_):
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer\nand more")

    monkeypatch.setattr(onnx_runtime, "open_session", lambda *_: Session())
    with pytest.raises(InputError, match=r"fails on \{'image': .*Failed to allocate memory for requested buffer$"):
        load(bundle, "onnx")(image(0, 30, 30))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.onnx", "model.torch.onnx", "model.pt2", "model.stablehlo"])
def test_the_network_as_one_file_is_the_same_network(name, tmp_path):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    try:
        distance = write_framework_file(point, tmp_path / name, (28, 36))
    except InputError as e:
        if "is not installed" not in str(e):
            raise
        pytest.skip(str(e))
    assert distance <= 1e-5
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name.endswith(".onnx"):
        onnx.checker.check_model(tmp_path / name, full_check=True)
        assert str(Path(__file__).parents[1]).encode() not in (tmp_path / name).read_bytes()


def test_names_of_single_files():
    assert [kind_of(Path(n)) for n in ("m.onnx", "m.torch.onnx", "bundle", "b.v1")] == [
        ".onnx",
        ".torch.onnx",
        None,
        None,
    ]
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2))
    with pytest.raises(InputError, match=r"use \.torch\.onnx, \.onnx, \.pt2, \.stablehlo, or a folder"):
        write_framework_file(point, Path("model.keras"), (28, 36))


def test_openvino_agrees(bundle):
    pytest.importorskip("openvino", reason="OpenVINO is not installed; pip install 'unet-twins[openvino]'")
    x = image(0, 53, 71)
    wanted = load(bundle, "onnx")(x)
    with load(bundle, "openvino") as predictor:
        assert np.abs(predictor(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    with pytest.raises(InputError, match="this model was closed"):
        predictor(x)


def test_openvino_says_what_it_lacks(bundle, monkeypatch):
    with pytest.raises(InputError, match="has no fp16; it has fp32"):
        load(bundle, "openvino", precision="fp16")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(InputError, match=r"OpenVINO is not installed; pip install 'unet-twins\[openvino\]'"):
        load(bundle, "openvino")


def test_extras_that_messages_name_can_be_installed():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folders = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "export", "tools", "docs")
    files = [path for name in folders for path in (root / name).rglob("*") if path.suffix in (".py", ".md")]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    named = {extra for found in re.findall(r"unet-twins\[([a-z,-]+)\]", text) for extra in found.split(",")}
    assert {"onnx", "openvino", "tensorrt-rtx"} <= named <= set(project["optional-dependencies"])
