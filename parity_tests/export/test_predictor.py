"""A loaded bundle: logits, refusals, threads, and use without JAX and PyTorch."""

import asyncio
import copy
import hashlib
import json
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from unet_data import ObjectSettings, objects_of, write_stack
from unet_spec import PRESETS, Checkpoint, InputError, random_tensors

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Bundle, BundleSettings, Distance, load, write_bundle, write_cpp

from .bundles import CONFIG, DATA, checkpoint, expected


def test_parity_and_golden_hold_up(written):
    found = json.loads((written / "parity.json").read_text())
    assert [r["runtime"] for r in found["results"]] == ["onnxruntime"]
    assert 0 < found["results"][0]["worst_relative"] < 1e-5
    assert found["not_run"] == [{"runtime": "tensorrt", "reason": "no engine was requested"}]
    golden = np.load(written / "golden.npz")
    logits = load(written, "onnx")(golden["image"][None])[0]
    wanted = golden["logits"][0][tuple(slice(0, n) for n in logits.shape[:-1])]
    assert Distance.between(logits, wanted).worst_relative < 1e-5
    assert np.abs(wanted - expected(CONFIG, DATA, golden["image"], checkpoint().tensors)).max() < 1e-4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64, np.float16])
def test_images_of_any_size_and_depth(written, dtype):
    rng = np.random.default_rng(0)
    images = rng.random((2, 53, 71, 2))
    images = images.astype(dtype) if np.dtype(dtype).kind == "f" else (images * np.iinfo(dtype).max).astype(dtype)
    predictor = load(written)
    assert "tensorrt" in predictor.passed_over
    for tile in (None, 40):
        logits = predictor(images, tile=tile)
        assert logits.shape == (2, 53, 71, 3)
        assert logits.dtype == np.float32
        for image, given in zip(images, logits, strict=True):
            wanted = expected(CONFIG, DATA, image, checkpoint().tensors)
            assert Distance.between(given, wanted).worst_relative < 1e-5


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((30, 30, 2), np.uint8), r"have 3 axes; expected \(N, H, W, C\)"),
        (np.zeros((1, 30, 30, 1), np.uint8), "have 1 channels; the network takes 2"),
        (np.zeros((1, 30, 30, 2), np.int64), "int64; allowed: uint8, uint16 and floating point"),
        (np.zeros((1, 30, 30, 2), np.complex64), "complex64; allowed"),
        (np.zeros((1, 30, 30, 2), bool), "bool; allowed"),
        (np.full((1, 30, 30, 2), "a"), "allowed: uint8"),
        (np.zeros((0, 30, 30, 2), np.uint8), "have no pixels"),
        (np.zeros((1, 0, 30, 2), np.uint8), "have no pixels"),
        (np.full((1, 30, 30, 2), np.nan, np.float32), "only NaN or infinite values"),
        (np.where(np.eye(30) > 0, np.inf, 0.0)[None, ..., None].repeat(2, -1), "60 NaN or infinite values of 1800"),
    ],
)
def test_images_that_are_refused(written, images, message):
    with pytest.raises(InputError, match=message):
        load(written)(images)


def test_a_tensor_of_another_library_is_read_as_its_array(written):
    images = np.random.default_rng(0).integers(0, 256, (1, 30, 30, 2), np.uint8)

    class Tensor:
        """Like PyTorch's: its own dtype, and items that are tensors."""

        dtype, shape = "torch.uint8", images.shape

        def __array__(self, *_: object, **__: object) -> np.ndarray:
            return images

        def __getitem__(self, _: object) -> "Tensor":
            return self

    with load(written) as predictor:
        np.testing.assert_array_equal(predictor(Tensor()), predictor(images))


def test_runtimes_that_do_not_run_here_say_why(written):
    with pytest.raises(InputError, match="unknown runtime 'fast'; allowed: auto, onnx, openvino, tensorrt"):
        load(written, "fast")
    with pytest.raises(InputError, match=r"no engine of .* runs here: the bundle has no engine"):
        load(written, "tensorrt")
    with pytest.raises(InputError, match="threads is 0"):
        load(written, threads=0)


@pytest.mark.slow
def test_a_bundle_runs_where_neither_jax_nor_pytorch_is(bundle, tmp_path):
    """In a process in which importing JAX or PyTorch fails."""
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
    """For images of different sizes, which would reveal a mix-up of memory."""
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


def test_labels_probabilities_and_objects_are_those_of_the_logits(written):
    images = np.random.default_rng(0).integers(0, 256, (2, 50, 61, 2), np.uint8)
    with load(written, "onnx") as predictor:
        logits = predictor(images)
        own = predictor.probabilities(images)
        np.testing.assert_allclose(own, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)
        labels = predictor.labels(images, tile=40)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, logits.argmax(-1))
        chosen = ObjectSettings("probability", foreground=0.2, core=0.2, border=2, grow=1)
        for given, (numbers, classes) in zip(own, predictor.objects(images, chosen), strict=True):
            np.testing.assert_array_equal(numbers, objects_of(given, chosen)[0])
            assert len(classes) == numbers.max() > 0
        assert predictor.class_names == ("background", "cell", "border")
        text = repr(predictor)
    digest = hashlib.sha256((written / "manifest.json").read_bytes()).hexdigest()
    assert digest[:12] in text
    assert "2 channels to background, cell, border" in text
    assert text.endswith("onnx fp32 CPUExecutionProvider>")


def test_files_are_read_as_the_network_takes_them(tmp_path, bundle):
    rng = np.random.default_rng(0)
    pages = rng.integers(0, 256, (3, 20, 24), np.uint8)
    write_stack(tmp_path / "pages.tif", pages)
    Image.fromarray(pages[0]).save(tmp_path / "page.png")
    config = PRESETS["same"].replace(widths=(4, 8), spatial_dims=3)
    solid = Checkpoint(config, random_tensors(config.graph, 0))
    volume = write_bundle(solid, tmp_path / "volume", BundleSettings(engines=False))
    with load(bundle, "onnx") as plane, load(volume, "onnx") as solid:
        np.testing.assert_array_equal(plane.read(tmp_path / "pages.tif"), pages[..., None])
        np.testing.assert_array_equal(solid.read(tmp_path / "pages.tif"), pages[None, ..., None])
        np.testing.assert_array_equal(plane.read(tmp_path / "page.png"), pages[:1, ..., None])
        with pytest.raises(InputError, match=r"no\.png"):
            plane.read(tmp_path / "no.png")


def test_a_file_of_another_pixel_size_than_the_network_expects_is_read_with_a_warning(tmp_path, bundle):
    data = {**bundle.manifest["data"], "spacing": [0.5, 0.5], "spacing_unit": "um"}
    pages = np.zeros((1, 20, 24), np.uint8)
    with load(Bundle(bundle.folder, {**bundle.manifest, "data": data}), "onnx") as predictor:
        for size in (0.5, 1.0):
            tifffile.imwrite(
                tmp_path / "a.tif", pages, imagej=True, resolution=(1 / size, 1 / size), metadata={"unit": "um"}
            )
            if size == 0.5:
                predictor.read(tmp_path / "a.tif")
                continue
            with pytest.warns(UserWarning, match=r"a\.tif: the network expects pixels of 0\.5 x 0\.5 um, the"):
                predictor.read(tmp_path / "a.tif")


def test_progress_counts_the_tiles_of_all_images_and_may_cancel(bundle):
    calls = []

    def cancel(done: int, of: int) -> None:
        calls.append((done, of))
        if len(calls) == 5:
            raise KeyboardInterrupt

    images = np.concatenate([image(0, 60, 40), image(1, 60, 40)])
    with load(bundle, "onnx") as predictor:
        seen = []
        predictor(images, tile=44, progress=lambda *counts: seen.append(counts))
        assert len(seen) > 4
        assert seen == [(k + 1, len(seen)) for k in range(len(seen))]
        with pytest.raises(KeyboardInterrupt):
            predictor(images, tile=44, progress=cancel)
        assert len(calls) == 5
        assert predictor.warm_up() > 0  # it still runs


def test_coroutines_share_a_predictor(bundle):
    async def all_of(predictor, images):
        return await asyncio.gather(*(asyncio.to_thread(predictor.labels, each) for each in images))

    with load(bundle, "onnx", threads=1) as predictor:
        images = [image(seed, 30 + seed, 41) for seed in range(4)]
        for each, found in zip(images, asyncio.run(all_of(predictor, images)), strict=True):
            np.testing.assert_array_equal(found, predictor.labels(each))


def test_floats_of_bytes_are_warned_of(written, recwarn):
    """255 times as large as in training: all pixels would have one class."""
    image = np.random.default_rng(0).integers(0, 256, (1, 50, 60, 2), np.uint8)
    predictor = load(written)
    predictor(image)
    predictor(image.astype(np.float32) / 255)
    assert not recwarn.list
    with pytest.warns(UserWarning, match="values differ from those of the training images: channel 0"):
        predictor(image.astype(np.float32))


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_a_predictor_can_be_pickled_and_copied(how, written, monkeypatch):
    monkeypatch.chdir(written.parent)
    image = np.zeros((1, 20, 24, CONFIG.in_channels), np.uint8)
    with load(written.name, "onnx") as predictor:
        expected, again = predictor(image), how(predictor)
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(again(image), expected)


def test_a_predicted_distance_parts_objects_and_is_no_class(tmp_path):
    """A constructed head: class 1 everywhere, and the image as distance."""
    config = PRESETS["same"].replace(widths=(2, 3), norm="none", distance_head=True)
    tensors = {name: np.zeros_like(t) for name, t in random_tensors(config.graph, 0).items()}
    for name in ("encoder.0.conv1", "encoder.0.conv2", "decoder.0.block.conv1", "decoder.0.block.conv2"):
        tensors[f"{name}.weight"][0, 0, 1, 1] = 1  # the image, unchanged, as the first channel
    tensors["head.bias"][1] = 5
    tensors["distance.weight"][0, 0] = 1
    bundle = write_bundle(
        Checkpoint(config, tensors), tmp_path / "bundle", BundleSettings(engines=False, fused_steps=("argmax",))
    )
    assert (bundle.manifest["output"]["channels"], bundle.manifest["classes"]) == (3, 2)
    image = np.full((1, 20, 31, 1), 60, np.uint8)
    image[0, 6:14, 3:12] = image[0, 6:14, 17:28] = 250
    predictor = load(bundle, "onnx")
    assert predictor(image).shape == predictor.probabilities(image).shape == (1, 20, 31, 2)
    assert (predictor.labels(image) == 1).all()
    [(labels, classes)] = predictor.objects(image)
    assert labels[10, 7] != labels[10, 22]
    assert (labels.max(), classes.tolist()) == (2, [1, 1])
    [(whole, _)] = predictor.objects(image, ObjectSettings())
    assert whole.max() == 1
    graph = onnx.load(bundle.folder / "model-fp32-baked.onnx").graph
    assert graph.output[0].name == "labels"
    with pytest.raises(InputError, match="this network also predicts a distance"):
        write_cpp(Checkpoint(config, tensors), tmp_path / "other")
