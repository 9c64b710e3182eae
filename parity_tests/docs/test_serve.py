"""The HTTP service of the examples: a real server, right answers under load, bad requests, a new bundle."""

import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from unet_spec import Checkpoint, DataSpec, preset, random_tensors

pytest.importorskip("starlette", reason="starlette is not installed; pip install starlette")
pytest.importorskip("uvicorn", reason="uvicorn is not installed; pip install uvicorn")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from benchmarks.serve import png, serving
from unet_data import measure_objects, objects_of
from unet_export import BundleSettings, load, write_bundle

CONFIG = preset("same", widths=(4, 8))


def write(folder, seed):
    tensors = random_tensors(CONFIG.graph, seed)
    return write_bundle(Checkpoint(CONFIG, tensors, DataSpec((0.5,), (0.3,))), folder, BundleSettings(engines=False))


def drawn(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, rng.integers(20, 90, 2), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "bundle"
    write(folder, 0)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with serving(f"em={folder}", UNET_MAX_BYTES="100000", UNET_MEMORY="1MiB", UNET_QUEUE="8") as running:
        yield running


def test_labels_probabilities_and_objects(server, folder):
    image = drawn(0)
    with load(folder, "onnx") as predictor:
        probabilities = predictor.probabilities(image[None, ..., None])
        status, body, headers = server.ask("POST", "/models/em", png(image))
        assert (status, headers["Content-Type"], headers["X-Bundle"]) == (200, "image/png", predictor.bundle.digest)
        np.testing.assert_array_equal(Image.open(io.BytesIO(body)), probabilities[0].argmax(-1))
        status, body, _ = server.ask("POST", "/models/em?output=probabilities&format=npy", png(image))
        np.testing.assert_array_equal(np.load(io.BytesIO(body)), probabilities)
    numbers, classes = objects_of(probabilities[0])
    assert len(classes)
    for form, opened in (("png", Image.open), ("npy", lambda file: np.load(file)[0])):
        status, body, _ = server.ask("POST", f"/models/em?output=objects&format={form}", png(image))
        assert status == 200, body
        np.testing.assert_array_equal(opened(io.BytesIO(body)), numbers)
    status, body, _ = server.ask("POST", "/models/em?output=objects&format=json", png(image))
    (table,) = json.loads(body)
    expected = measure_objects(numbers, image[..., None], len(classes))
    assert table.keys() == expected.keys()
    np.testing.assert_allclose(table["mean_0"], expected["mean_0"])
    buffer = io.BytesIO()
    np.save(buffer, image[..., None])
    status, body, _ = server.ask("POST", "/models/em", buffer.getvalue(), "application/x-npy")
    np.testing.assert_array_equal(Image.open(io.BytesIO(body)), probabilities[0].argmax(-1))


def test_what_looks_unlike_the_training_images_is_said_in_a_header(server):
    buffer = io.BytesIO()
    np.save(buffer, np.full((20, 20, 1), 200.0, np.float32) + np.eye(20, dtype=np.float32)[..., None])
    status, _, headers = server.ask("POST", "/models/em", buffer.getvalue(), "application/x-npy")
    assert status == 200
    assert headers["X-Warning"].startswith("values differ from those of the training images")
    assert "X-Warning" not in server.ask("POST", "/models/em", png(drawn(0)))[2]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "message"),
    [
        ("/models/em", b"no image", "image/png", 400, "is not a PNG"),
        ("/models/em", png(np.arange(1200, dtype=np.uint8).reshape(20, 20, 3)), "image/png", 400, "--channels grey"),
        ("/models/em", png(np.zeros((3000, 3000), np.uint8)), "image/png", 400, "UNET_MEMORY"),
        ("/models/em", b"a" * 100_001, "image/png", 413, "at most 100000"),
        ("/models/em", b"a", "text/plain", 400, "image/png"),
        ("/models/no", b"a", "image/png", 404, "models: ['em']"),
        ("/models/em?output=close", b"a", "image/png", 400, "outputs: ('labels'"),
        ("/models/em?output=probabilities", png(drawn(1)), "image/png", 400, "format=npy gives any array"),
        ("/models/no/reload", b"", "image/png", 404, "no model 'no'; models: ['em']"),
    ],
    ids=("no image", "colour", "too many pixels", "too many bytes", "text", "no model", "no output", "form", "reload"),
)
def test_what_is_refused(server, path, body, kind, status, message):
    found, answer, _ = server.ask("POST", path, body, kind)
    assert found == status, answer
    assert message in json.loads(answer)["error"]


def test_many_requests_at_once_get_their_own_answers_or_503(server, folder):
    """Of sizes of their own, every fourth one bad."""
    images = [drawn(seed) for seed in range(60)]
    bodies = [b"bad" if k % 4 == 3 else png(image) for k, image in enumerate(images)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: server.ask("POST", "/models/em", body), bodies))
    with load(folder, "onnx") as predictor:
        for k, (image, (status, body, headers)) in enumerate(zip(images, answers, strict=True)):
            if status == 503:
                assert headers["Retry-After"] == "1"
            elif k % 4 == 3:
                assert status == 400
            else:
                labels = predictor.labels(image[None, ..., None])[0]
                np.testing.assert_array_equal(Image.open(io.BytesIO(body)), labels)
    assert {200, 400, 503} == {status for status, _, _ in answers}
    text = server.ask("GET", "/metrics")[1].decode()
    assert 'unet_active{model="em"} 0\n' in text


@pytest.mark.slow
def test_a_bundle_is_replaced_without_a_gap_and_a_damaged_one_changes_nothing(server, folder, tmp_path):
    image = png(drawn(2))
    before = server.ask("POST", "/models/em", image)
    (folder / "model.onnx").rename(tmp_path / "model.onnx")
    status, answer, _ = server.ask("POST", "/models/em/reload")
    assert status == 400
    assert "model.onnx is missing" in json.loads(answer)["error"]
    assert server.ask("POST", "/models/em", image)[1] == before[1]
    shutil.rmtree(folder)
    written = write(folder, 1)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(server.ask, "POST", "/models/em", image) for _ in range(12)]
        status, answer, _ = server.ask("POST", "/models/em/reload")
        assert (status, json.loads(answer)["em"]["bundle"]) == (200, written.digest)
    assert {each.result()[0] for each in answers} <= {200, 503}
    after = server.ask("POST", "/models/em", image)
    assert after[2]["X-Bundle"] == written.digest != before[2]["X-Bundle"]
    assert after[1] != before[1]
