"""Objects in Triton's ensemble: its steps, run as config.pbtxt joins them, give what `Predictor.objects` gives."""

import json
import shutil
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import ObjectSettings
from unet_spec import PRESETS, Checkpoint, DataSpec, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, load, write_bundle
from unet_export.serving.objects import FILE, ObjectStep
from unet_export.serving.repository import add_models
from unet_tools.cli import main

from .protobuf import parse
from .python_backend import Tensor, load_model, stand_in
from .test_triton import serving, triton_python

STORED = ObjectSettings("probability", neck=0.8, smoothing=1, border=2, grow=1, minimum_size=3)
TYPES = {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32, "TYPE_UINT32": np.uint32, "TYPE_INT64": np.int64}
BORDER, DISTANCE = (PRESETS["same"].replace(widths=(4, 8)), PRESETS["paper"].replace(widths=(4, 8)))
CASES = {
    "border": (BORDER.replace(out_channels=3), DataSpec((0.5,), (0.2,), objects=STORED.to_dict()), 8),
    "distance": (DISTANCE.replace(spatial_dims=3, distance_head=True), DataSpec(), 3),
}
"""Network, data, and a seed of weights that give objects."""


def write(folder, case, **settings):
    config, data, seed = CASES[case]
    point = Checkpoint(config, random_tensors(config.graph, seed), data)
    return write_bundle(point, folder, BundleSettings(engines=False, **settings))


@pytest.fixture(scope="module", params=CASES)
def served(request, tmp_path_factory):
    """A bundle of each case, and two images with different numbers of objects."""
    bundle = write(tmp_path_factory.mktemp("objects") / "bundle", request.param)
    size = (61, 83) if bundle.config.spatial_dims == 2 else (17, 23, 30)
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 1)).astype(np.uint8)
    images[1, : size[0] // 2] = 90
    return bundle, images


def ask(protobuf, repository, images, name="unet"):
    """The outputs of an ensemble, as Triton computes them: types and sizes are those of the configurations."""
    ensemble = parse(protobuf, repository / name / "config.pbtxt")
    values = {"image": images}
    for step in ensemble.ensemble_scheduling.step:
        model = parse(protobuf, repository / step.model_name / "config.pbtxt")
        given = {own: values[outer] for own, outer in step.input_map.items()}
        if model.backend == "python":
            tensors = {own: Tensor(own, array) for own, array in given.items()}
            (response,) = load_model(repository, step.model_name).execute([SimpleNamespace(inputs=tensors)])
            assert not response.has_error(), response.error().message()
            found = {own: tensor.values for own, tensor in response.outputs.items()}
        else:
            session = onnxruntime.InferenceSession(repository / step.model_name / "1" / "model.onnx")
            names = list(step.output_map)
            found = dict(zip(names, session.run(names, given), strict=True))
        for spec in model.output:
            array = found[spec.name]
            assert array.dtype == TYPES[protobuf.DataType.Name(spec.data_type)], spec.name
            assert len(array) == len(images)
            assert all(d in (-1, n) for d, n in zip(spec.dims, array.shape[1:], strict=True)), spec.name
        values |= {outer: found[own] for own, outer in step.output_map.items()}
    return {spec.name: values[spec.name] for spec in ensemble.output}


def differences(answer, expected):
    """What differs between an answer and objects of `Predictor.objects`."""
    found = []
    for index, (labels, classes) in enumerate(expected):
        own = answer["object_classes"][index]
        padded = np.pad(classes, (0, max(0, len(own) - len(classes))))
        found += [] if np.array_equal(answer["objects"][index], labels) else [f"objects of image {index}"]
        found += [] if np.array_equal(own, padded) else [f"classes of image {index}"]
    return found


def test_the_ensemble_gives_the_predictors_objects(served, protobuf, monkeypatch):
    bundle, images = served
    stand_in(monkeypatch)
    expected = load(bundle, "onnx").objects(images)
    counts = [len(classes) for _, classes in expected]
    assert min(counts) > 5
    assert counts[0] != counts[1]
    answer = ask(protobuf, bundle.folder / "triton", images)
    assert differences(answer, expected) == []
    assert answer["object_classes"].shape == (2, max(counts))
    assert answer["labels"].shape == images.shape[:-1]  # the other outputs are as before


def test_planted_bugs_are_seen(served, protobuf, monkeypatch):
    bundle, images = served
    stand_in(monkeypatch)
    expected = load(bundle, "onnx").objects(images)
    compute, read = ObjectStep.__call__, ObjectStep.load
    bugs = {
        "cut one pixel off": lambda logits: np.roll(logits, 1, -1),
        "an axis mirrored": lambda logits: logits[:, :, ::-1],
        "channels in another order": lambda logits: logits[:, ::-1],
    }
    for bug, change in bugs.items():
        with monkeypatch.context() as patched:
            patched.setattr(ObjectStep, "__call__", lambda step, x, size, change=change: compute(step, change(x), size))
            assert differences(ask(protobuf, bundle.folder / "triton", images), expected), bug
    plain = ObjectSettings(distance=read(bundle.folder / "triton" / "unet_objects" / "1").settings.distance)
    with monkeypatch.context() as patched:  # settings other than those stored
        patched.setattr(ObjectStep, "load", lambda folder: replace(read(folder), settings=plain))
        assert differences(ask(protobuf, bundle.folder / "triton", images), expected)


def test_an_image_without_objects_beside_others(tmp_path):
    step = ObjectStep(ObjectSettings())
    logits = np.full((3, 2, 8, 12), -4, np.float32)
    logits[:, 0] = 0
    logits[1, 1, 1:4, 1:4] = logits[1, 1, 5:7, 2:9] = logits[2, 1, 2:5, 3:6] = 4
    objects, classes = step(logits, (7, 10))
    assert objects.shape == (3, 7, 10)
    assert objects.max((1, 2)).tolist() == [0, 2, 1]
    assert classes.tolist() == [[0, 0], [1, 1], [1, 0]]
    assert step(logits[:1], (7, 10))[1].tolist() == [[0]]
    step.save(tmp_path)
    assert ObjectStep.load(tmp_path) == step


def test_what_is_wrong_is_reported_in_the_response(served, monkeypatch, tmp_path):
    bundle, images = served
    stand_in(monkeypatch)
    model = load_model(bundle.folder / "triton", "unet_objects")
    config = bundle.config
    bad, good = (np.full((1, config.output_channels, *images.shape[1:-1]), v, np.float32) for v in (np.nan, 0))
    requests = [
        SimpleNamespace(inputs={"logits": Tensor("logits", logits), "image": Tensor("image", images[:1])})
        for logits in (bad, good)
    ]
    first, second = model.execute(requests)
    assert first.error().message() == "the network's output is not finite, so there are no objects"
    assert second.outputs["objects"].values.shape == images[:1, ..., 0].shape
    copied = tmp_path / "models"
    shutil.copytree(bundle.folder / "triton", copied)
    file = copied / "unet_objects" / "1" / FILE
    for text, message in (("{", "is damaged"), ("{}", "is damaged"), (bad_settings(file), "object method 'x'")):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            load_model(copied, "unet_objects")


def bad_settings(file):
    values = json.loads(file.read_text())
    values["settings"]["method"] = "x"
    return json.dumps(values)


def test_which_networks_have_the_step(protobuf, tmp_path):
    without = write(tmp_path / "without", "border", triton_objects=False)
    assert not (without.folder / "triton" / "unet_objects").exists()
    outputs = parse(protobuf, without.folder / "triton" / "unet" / "config.pbtxt").output
    assert [t.name for t in outputs] == ["labels", "probabilities"]
    assert "numbered objects" not in (without.folder / "README.md").read_text()
    given = write(tmp_path / "with", "border")
    assert "numbered objects" in (given.folder / "README.md").read_text()
    model = parse(protobuf, given.folder / "triton" / "unet_objects" / "config.pbtxt")
    assert (model.backend, model.max_batch_size, model.instance_group[0].count) == ("python", 16, 1)
    assert add_models(given.folder / "triton", tmp_path / "models")[-2:] == [
        "unet_objects",
        "unet",
    ]  # what it names first


def test_overlapping_classes_have_none(tmp_path, capsys):
    config = PRESETS["same"].replace(widths=(2, 4))
    data = DataSpec(class_names=("a", "b"), overlapping=True)
    Checkpoint(config, random_tensors(config.graph, 0), data).save(tmp_path / "ck")
    command = [
        "export",
        str(tmp_path / "ck"),
        "-o",
        str(tmp_path / "b"),
        "--engines",
        "False",
        "--triton-objects",
        "True",
    ]
    assert main(command) == 2
    assert "classes overlap" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


CLIENT = """
import sys
import numpy as np
import tritonclient.http as triton

images = np.load("images.npy")
given = triton.InferInput("image", images.shape, "UINT8")
given.set_data_from_numpy(images)
answer = triton.InferenceServerClient("localhost:" + sys.argv[1]).infer("unet", [given])
np.savez("answer.npz", **{name: answer.as_numpy(name) for name in ("objects", "object_classes")})
"""


@pytest.mark.slow
def test_a_server_gives_the_predictors_objects(served, tmp_path):
    """By the bundle's model.py, in a server by nvidia-pytriton; see test_triton.py."""
    bundle, images = served
    python = triton_python()
    if subprocess.run([python, "-c", "import lazy_loader, safetensors, scipy, tifffile"], check=False).returncode:
        pytest.skip(f"{python} does not have what unet-twins needs")
    np.save(tmp_path / "images.npy", images)
    with serving(python, bundle.folder, tmp_path / "log") as port:
        subprocess.run([python, "-c", CLIENT, str(port)], cwd=tmp_path, check=True)
    assert differences(np.load(tmp_path / "answer.npz"), load(bundle, "onnx").objects(images)) == []
