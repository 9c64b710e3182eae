"""A bundle with every precision, and its check against the reference."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import BundleSettings, PrecisionRecipe, load, onnx_bytes, read_onnx, write_bundle
from unet_export.onnx.check import weights_of
from unet_export.precision.formats import convolutions
from unet_tools.checking import runtimes
from unet_tools.checking.runtimes import BundleInputs, check_bundle

from ...fixtures.export_cases import CONFIG, DATA, calibration_images, relative


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    point = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 2), DATA)
    folder = tmp_path_factory.mktemp("precisions") / "b"
    return write_bundle(
        point,
        folder,
        BundleSettings(
            ("fp16", "bf16", "tf32", "int8", "fp8"),
            engines=False,
            fused_steps=("normalize", "argmax"),
            licence="CC-BY-4.0",
        ),
        calibration=calibration_images(),
    )


def test_a_bundle_of_every_precision(bundle):
    assert bundle.precisions == ("fp16", "bf16", "tf32", "int8", "fp8", "fp32")
    files = {"model-fp16.onnx", "model-bf16.onnx", "model-int8.onnx", "model-fp8.onnx", "model-fp16-baked.onnx"}
    assert files < set(bundle.manifest["files"])
    found = json.loads((bundle.folder / "parity.json").read_text())
    simulated = {r["precision"]: r for r in found["results"] if r["runtime"] == "simulation"}
    assert set(simulated) == {"fp16", "bf16", "tf32", "int8", "fp8"}
    assert all(r["label_agreement"] >= r["least_label_agreement"] for r in simulated.values())
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert "CC-BY-4.0" in card
    assert "| simulation  | int8 |" in card


def test_weights_come_back_out_of_a_bundle_bit_for_bit(bundle):
    _, model, where = read_onnx(bundle.onnx)
    tensors = weights_of(model, where)
    assert Checkpoint(CONFIG, tensors, DATA).digest() == bundle.manifest["checkpoint_digest"]


def test_a_bundle_is_checked_in_every_precision(bundle):
    findings = check_bundle(bundle.folder)
    assert not [f for f in findings if f.ok is False]
    assert [f.ok for f in findings if f.runtime == "onnx, normalize+argmax inside"] == [True]
    assert {f.dtype for f in findings if f.ok} == {"fp32", "fp16", "bf16", "tf32", "int8", "fp8"}
    truths = [np.zeros((40, 52), np.int32)] * 4
    scored = check_bundle(bundle.folder, calibration_images(), truths)
    judged = [f.dice for f in scored if f.ok and f.note == "4 images"]
    assert len(judged) >= 6
    assert all(0 <= dice <= 1 for dice in judged)


def test_a_check_fails_where_a_file_is_not_as_good_as_the_manifest_says(bundle, tmp_path, monkeypatch):
    """A scale in the int8 file is wrong (with a correct checksum): simulation and runtime exceed the bound."""
    import shutil

    from unet_export.bundle.manifest import file_sha256

    copy = shutil.copytree(bundle.folder, tmp_path / "b")
    model = onnx.load(copy / "model-int8.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "head.input.scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) / 8, tensor.name))
    (copy / "model-int8.onnx").write_bytes(onnx_bytes(model))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["model-int8.onnx"]["sha256"] = file_sha256(copy / "model-int8.onnx")
    (copy / "manifest.json").write_text(json.dumps(manifest))
    broken = [(f.runtime, f.dtype) for f in check_bundle(copy) if f.ok is False]
    assert broken == [("onnx", "int8")]


def test_a_runtime_takes_the_precision_that_is_asked_for(bundle):
    predictor = load(bundle, "onnx", precision="int8")
    assert predictor.runtime.precision == "int8"
    image = calibration_images(1)[0]
    exact, narrow = load(bundle, "onnx")(image[None]), predictor(image[None])
    assert 0 < relative(narrow, exact) < 0.3
    with pytest.raises(InputError, match="has no fp64; it has fp16, bf16, tf32, int8, fp8, fp32"):
        load(bundle, "onnx", precision="fp64")
    with pytest.raises(InputError, match="the bundle has no engine in fp16"):
        load(bundle, "tensorrt", precision="fp16")


def test_errors_are_relative_to_the_reference_and_scores_are_those_of_the_candidate():
    reference, candidate = np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 3), np.float32)
    reference[..., 1], candidate[..., 1] = 2.0, 4.0
    candidate[0, 0, 0] = [5, 0, 0]
    reference[..., 2], candidate[..., 2] = 8, 9  # a distance, unless there are three classes
    truth = np.ones((1, 2, 2), np.int32)
    truth[0, 1, 1] = 0
    config = CONFIG.replace(out_channels=2)
    for classes, agreement in ((2, 0.75), (3, 1.0)):
        found = runtimes._found(
            config.replace(out_channels=classes), "onnx", "fp16", [candidate],
            BundleInputs([candidate], [reference], None, "one image"), 0.5,
        )  # fmt: skip
        assert found.worst_relative == 5 / 8
        assert found.label_agreement == agreement
        assert (found.runtime, found.dtype, found.note, found.ok, found.dice) == (
            "onnx", "fp16", "one image", True, None,
        )  # fmt: skip
    inputs = BundleInputs([candidate], [reference], [truth], "one image")
    scored = runtimes._found(config, "onnx", "fp32", [candidate], inputs, 0.5)
    assert scored.ok is False  # beyond the bound of float32
    assert scored.dice == pytest.approx((2 * 0 / (1 + 1) + 2 * 2 / (3 + 3)) / 2)


def test_the_input_of_a_check_is_small_and_has_another_size_on_each_axis():
    found = runtimes.check_input(CONFIG, [])
    grids = CONFIG.geometry.grids
    sizes = [grid.minimum + (2 + axis) * grid.step for axis, grid in enumerate(grids)]
    assert (found.shape, found.dtype) == ((1, *sizes, CONFIG.in_channels), np.float32)
    assert 0.9 < found.mean() < 1.1
    assert 0.9 < found.std() < 1.1
    image = np.random.default_rng(0).normal(size=(*(n + 3 for n in sizes), CONFIG.in_channels)).astype(np.float32)
    cut = tuple(slice(0, n) for n in sizes)
    np.testing.assert_array_equal(runtimes.check_input(CONFIG, [image, -image]), [image[cut], -image[cut]])


def test_labels_are_cut_as_the_outputs_are():
    """Valid convolutions: the output has a margin of its own; the window is in the middle of the image."""
    config = PRESETS["paper"].replace(widths=(2, 4), in_channels=1)
    margin = config.geometry.margin(0)
    images = [np.zeros((60 + index, 80, 1), np.uint8) for index in range(3)]
    truths = [np.arange(image[..., 0].size).reshape(image.shape[:-1]) for image in images]
    sizes = [(44, 52), (45, 80), (62, 44)]
    for found, truth, size in zip(runtimes._label_windows(config, images, truths, sizes), truths, sizes, strict=True):
        rows, columns = (
            slice((n - s) // 2 + margin, (n - s) // 2 + s - margin) for n, s in zip(truth.shape, size, strict=True)
        )
        np.testing.assert_array_equal(found, truth[None, rows, columns])
    with pytest.raises(InputError, match="3 images but 2 labels; give one label for each image"):
        runtimes._label_windows(config, images, truths[:2], sizes)
    with pytest.raises(InputError, match=r"an image is \(60, 80\) but its label \(61, 80\); they must be equal"):
        runtimes._label_windows(config, images, [truths[1], *truths[1:]], sizes)


def test_the_label_of_each_chosen_image_is_its_own():
    images = [np.zeros((24, 32, 3), np.uint8)] * 20
    truths = [np.full((24, 32), number) for number in range(20)]
    found = runtimes._label_windows(CONFIG, images, truths, [(24, 32)] * 8)
    assert [int(label[0, 0, 0]) for label in found] == [0, 3, 5, 8, 11, 14, 16, 19]


@pytest.mark.parametrize(
    ("precision", "names"),
    [
        ("fp32", ["onnx", "openvino", "tensorrt"]), ("tf32", ["simulation", "tensorrt"]),
        ("fp16", ["simulation", "torch half, CPU", "tensorrt"]),
        ("bf16", ["simulation", "torch half, CPU", "tensorrt"]),
        ("int8", ["simulation", "onnx", "tensorrt"]), ("fp8", ["simulation", "onnx", "tensorrt"]),
    ],
)  # fmt: skip
def test_a_precision_is_computed_by_what_supports_it(precision, names, monkeypatch):
    monkeypatch.setattr(runtimes, "find_spec", lambda name: name == "openvino")
    whole = SimpleNamespace(config=CONFIG)
    tensors, loaded = random_tensors(CONFIG.graph, 2), []

    def opened(bundle, name, precision="fp32"):
        loaded.append((name, precision))
        return SimpleNamespace(runtime=SimpleNamespace(run=None))

    monkeypatch.setattr("unet_export.load", opened)
    ranges = dict.fromkeys(convolutions(CONFIG.graph), 1.0)
    recipe = PrecisionRecipe(precision, ranges=ranges if precision in ("int8", "fp8") else {})
    found = list(runtimes._candidates(whole, recipe, tensors))
    assert [name for name, _ in found] == names
    for name, candidate in found:
        if name in ("onnx", "openvino", "tensorrt"):
            candidate()
    assert loaded == [(name, precision) for name in names if name in ("onnx", "openvino", "tensorrt")]


def test_a_runtime_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(runtimes, "installed", lambda name: False)
    with pytest.raises(InputError, match=r"PyTorch is not installed; pip install 'unet-twins\[torch\]'"):
        runtimes._torch(None, PrecisionRecipe("fp16"))
    tensors = random_tensors(CONFIG.graph, 2)
    found = runtimes.check_checkpoint(Checkpoint(CONFIG, tensors, DATA), [])
    assert [(f.runtime, f.dtype, f.note) for f in found[1:]] == [
        *((name, "float32", "not installed") for name in ("jax", "torch", "onnx")),
        ("tensorrt", "float32", "runs engines: unet check BUNDLE"),
    ]
    weights = found[0]
    assert (weights.runtime, weights.dtype, weights.compared_with, weights.ok) == (
        "weights", "as stored", "themselves", True,
    )  # fmt: skip
    assert (weights.worst_relative, weights.bound) == (0.0, 0.0)
    assert weights.note == f"{len(tensors)} tensors, PyTorch → Flax → PyTorch"


def test_weights_that_change_on_their_way_are_no_round_trip(monkeypatch):
    tensors = random_tensors(CONFIG.graph, 2)
    name = next(reversed(tensors))
    changed = {**tensors, name: tensors[name] + 1}
    monkeypatch.setattr("unet_spec.weights.weight_map.to_pytorch", lambda graph, flax: changed)
    found = runtimes._round_trip(Checkpoint(CONFIG, tensors, DATA))
    assert (found.ok, found.worst_relative) == (False, None)
