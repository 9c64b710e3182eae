"""The Triton repository: its configurations parsed by Triton's protobufs, and the repository served and queried.

It is served if nvidia-pytriton is installed in this environment or in that of the interpreter UNET_TRITON_PYTHON
(pytriton needs NumPy 1, so it usually needs a separate environment).
"""

import importlib.util
import os
import runpy
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image

from unet_spec import PRESETS, InputError

from ... import ROOT

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_data import most_probable, read_image
from unet_export import Profile, load
from unet_export.serving.repository import add_models, protobuf_text
from unet_export.serving.triton import model_names, write_repository
from unet_export.tensorrt.engine_record import EngineRecord

from .protobuf import parse

EXAMPLES = ROOT / "examples" / "triton_server"
CONFIG = PRESETS["paper"].replace(widths=(4, 8))


def test_configurations_are_tritons_own(bundle, protobuf):
    folder = bundle.folder / "triton"
    models = {path.parent.name: parse(protobuf, path) for path in folder.glob("*/config.pbtxt")}
    assert set(models) == {"unet", "unet_preprocess", "unet_network", "unet_postprocess"}
    for name, config in models.items():
        assert config.name == name
        assert config.max_batch_size == 16
        if name == "unet":
            continue
        model = onnx.load(folder / name / "1" / "model.onnx")
        for specs, values in ((config.input, model.graph.input), (config.output, model.graph.output)):
            assert [s.name for s in specs] == [v.name for v in values]
            for spec, value in zip(specs, values, strict=True):
                dims = [d.dim_value or -1 for d in value.type.tensor_type.shape.dim][1:]
                assert list(spec.dims) == dims, (name, spec.name)
    network = models["unet_network"]
    assert network.HasField("dynamic_batching")
    assert list(network.model_warmup[0].inputs["image"].dims) == [1, 18, 18]


def test_the_ensemble_joins_what_fits(bundle, protobuf):
    folder = bundle.folder / "triton"
    ensemble = parse(protobuf, folder / "unet" / "config.pbtxt")
    known = {t.name: t.data_type for t in ensemble.input}
    for step in ensemble.ensemble_scheduling.step:
        model = parse(protobuf, folder / step.model_name / "config.pbtxt")
        assert set(step.input_map) == {t.name for t in model.input}
        for tensor in model.input:
            assert known[step.input_map[tensor.name]] == tensor.data_type
        known |= {step.output_map[t.name]: t.data_type for t in model.output}
    assert {t.name: known[t.name] for t in ensemble.output} == {t.name: t.data_type for t in ensemble.output}


def test_a_field_that_triton_does_not_know_is_caught(protobuf):
    from google.protobuf import text_format

    with pytest.raises(text_format.ParseError):
        text_format.Parse(protobuf_text({"name": "x", "max_batchsize": 4}), protobuf.ModelConfig())


def test_an_engine_of_tensorrt_is_served_by_its_backend(bundle, protobuf, tmp_path):
    """The engine's bytes do not matter here. Engines of TensorRT for RTX are not added for Triton."""
    (tmp_path / "e.plan").write_bytes(b"plan")
    profile = Profile((1, 20, 20), (4, 32, 32), (8, 64, 64))
    rest = ("11.0", (), "fp16", True, profile, {}, 4, 0.0, "0" * 64)
    engines = [(EngineRecord("e.plan", name, *rest), tmp_path / "e.plan") for name in ("tensorrt_rtx", "tensorrt")]
    write_repository(tmp_path / "a", CONFIG, bundle.data, bundle.onnx, engines)
    served = parse(protobuf, tmp_path / "a" / "unet_network_tensorrt" / "config.pbtxt")
    assert (served.backend, served.max_batch_size) == ("tensorrt", 8)
    assert (tmp_path / "a" / "unet_network_tensorrt" / "1" / "model.plan").read_bytes() == b"plan"
    steps = parse(protobuf, tmp_path / "a" / "unet_tensorrt" / "config.pbtxt").ensemble_scheduling.step
    assert steps[1].model_name == "unet_network_tensorrt"
    write_repository(tmp_path / "b", CONFIG, bundle.data, bundle.onnx, engines[:1])
    assert not (tmp_path / "b" / "unet_tensorrt").exists()


def test_two_networks_of_one_server_keep_their_names(bundle, protobuf, tmp_path):
    server = tmp_path / "models"
    for name in ("nuclei", "em"):
        write_repository(tmp_path / name, CONFIG, bundle.data, bundle.onnx, [], name)
        assert add_models(tmp_path / name, server)[-1] == name  # the ensemble last
    models = {path.parent.name: parse(protobuf, path) for path in server.glob("*/config.pbtxt")}
    assert {name: config.name for name, config in models.items()} == {name: name for name in models}
    assert len(models) == 8
    for name in ("nuclei", "em"):
        steps = [step.model_name for step in models[name].ensemble_scheduling.step]
        assert steps == [f"{name}_preprocess", f"{name}_network", f"{name}_postprocess"]
    (server / "em" / "config.pbtxt").write_text("edited")
    assert (tmp_path / "em" / "em" / "config.pbtxt").read_text() != "edited"
    before = sorted(server.rglob("*"))
    shutil.rmtree(server / "em_network")
    with pytest.raises(InputError, match=r"models has a model em_postprocess already; give another --name"):
        add_models(tmp_path / "em", server)
    assert not (server / "em_network").exists(), "nothing is added where one name is taken"
    assert len(sorted(server.rglob("*"))) < len(before)
    for name in ("", "a/b", "..", "-x", "a b"):
        with pytest.raises(InputError, match="cannot be a model's"):
            write_repository(tmp_path / "no", CONFIG, bundle.data, bundle.onnx, [], name)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGB", "RGBA"])
def test_the_client_in_python_sends_what_this_project_reads(mode, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "image.png")
    sent, triton = [], MagicMock()
    triton.InferInput().set_data_from_numpy = sent.append
    triton.InferenceServerClient().infer().as_numpy.return_value = np.zeros((1, 5, 7), np.uint8)
    monkeypatch.setitem(sys.modules, "tritonclient", MagicMock(http=triton))
    monkeypatch.setitem(sys.modules, "tritonclient.http", triton)
    monkeypatch.setattr(sys, "argv", ["client.py", str(tmp_path / "image.png"), str(tmp_path / "labels.png")])
    runpy.run_path(str(EXAMPLES / "client.py"))
    np.testing.assert_array_equal(sent[0][0], read_image(tmp_path / "image.png"))


def test_the_client_in_c_plus_plus_compiles(tmp_path):
    compile_client(tmp_path)


def compile_client(folder: Path) -> Path:
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *options, str(EXAMPLES / "client.cpp"), "-o", str(folder / "client")], check=True)
    return folder / "client"


def triton_python() -> str:
    named = os.environ.get("UNET_TRITON_PYTHON")
    if named:
        return named
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("nvidia-pytriton is not installed here, and UNET_TRITON_PYTHON names no interpreter that has it")
    return sys.executable


@pytest.mark.slow
def test_the_bundle_is_served_and_both_clients_get_its_labels(bundle, tmp_path):
    python = triton_python()
    client = compile_client(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (61, 83)).astype(np.uint8)
    for suffix in (".png", ".pgm"):
        Image.fromarray(image).save(tmp_path / f"image{suffix}")
    with serving(python, bundle.folder, tmp_path / "log") as port:
        subprocess.run([str(client), "image.pgm", "cpp.pgm", "localhost", str(port)], cwd=tmp_path, check=True)
        ask = [python, str(EXAMPLES / "client.py"), "image.png", "py.png", "--url", f"localhost:{port}"]
        subprocess.run(ask, cwd=tmp_path, check=True)
    wanted = most_probable(load(bundle, "onnx")(image[None, ..., None]))[0]
    for name in ("cpp.pgm", "py.png"):
        found = np.asarray(Image.open(tmp_path / name))
        assert found.shape == wanted.shape
        assert np.mean(found == wanted) > 0.999, name


@contextmanager
def serving(python: str, bundle: Path, log: Path) -> Iterator[int]:
    """The port of a server that serves a bundle."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [python, str(EXAMPLES / "serve_cpu.py"), str(bundle), "--port", str(port)]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            wait_until_ready(server, port, log)
            yield port
        finally:
            server.terminate()
            server.wait(30)


def wait_until_ready(server: subprocess.Popen, port: int, log: Path) -> None:
    for _ in range(120):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(f"http://localhost:{port}/v2/models/unet/ready", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_requests_wait_two_milliseconds_and_a_network_is_warm(bundle, protobuf):
    folder = bundle.folder / "triton"
    network = parse(protobuf, folder / "unet_network" / "config.pbtxt")
    assert network.dynamic_batching.max_queue_delay_microseconds == 2000
    [warm] = network.model_warmup
    assert (warm.name, warm.batch_size, warm.inputs["image"].zero_data) == ("zeros", 1, True)
    for name in ("unet_preprocess", "unet_postprocess"):
        assert not parse(protobuf, folder / name / "config.pbtxt").model_warmup
    ensemble = parse(protobuf, folder / "unet" / "config.pbtxt")
    assert [step.model_version for step in ensemble.ensemble_scheduling.step] == [-1] * 3


def test_the_engine_is_warmed_at_the_size_that_it_is_for(bundle, protobuf, tmp_path):
    (tmp_path / "e.plan").write_bytes(b"plan")
    profile = Profile((1, 20, 20), (4, 32, 36), (8, 64, 64))
    record = EngineRecord("e.plan", "tensorrt", "11.0", (), "fp16", True, profile, {}, 4, 0.0, "0" * 64)
    write_repository(tmp_path / "a", CONFIG, bundle.data, bundle.onnx, [(record, tmp_path / "e.plan")])
    served = parse(protobuf, tmp_path / "a" / "unet_network_tensorrt" / "config.pbtxt")
    assert list(served.model_warmup[0].inputs["image"].dims) == [1, 32, 36]
    assert parse(protobuf, tmp_path / "a" / "unet_tensorrt" / "config.pbtxt").max_batch_size == 8
    assert model_names("a") == [
        "a", "a_preprocess", "a_network", "a_postprocess", "a_objects", "a_tensorrt", "a_network_tensorrt"
    ]  # fmt: skip
