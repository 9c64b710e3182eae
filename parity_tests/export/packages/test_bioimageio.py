"""A model of the BioImage Model Zoo, read by bioimageio.core. `UNET_BIOIMAGEIO_PYTHON` names a Python with that
package, which needs another pydantic than this environment; `.ci/run` creates it."""

import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unet_data import prepare, probabilities
from unet_data.io.colours import colour
from unet_export import FLOAT32_BOUND, OnnxRuntime, ZooEntry, emit_onnx, onnx_bytes, write_bioimageio
from unet_export.onnx.mirrored import block_axes
from unet_export.packages import bioimageio
from unet_export.reference import whole_input
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors

ENTRY = ZooEntry("CC-BY-4.0", ("Ada Lovelace",), ("The paper, doi:10.1007/978-3-319-24574-4_28",))
CONFIG = preset("paper", widths=(4, 8), in_channels=2, out_channels=3)
DATA = DataSpec((0.5, 0.25), (0.2, 0.1), ("background", "cell", "border"))
PYTHON = os.environ.get("UNET_BIOIMAGEIO_PYTHON")


def checkpoint(config=CONFIG, data=DATA):
    return Checkpoint(config, random_tensors(config.graph, 2), data)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "model.zip"
    image = np.random.default_rng(0).integers(0, 4000, (30, 20, 2)).astype(np.uint16)
    entry = ZooEntry(**{**vars(ENTRY), "scores": {"iou": 0.5}})
    rdf = write_bioimageio(checkpoint(), path, entry, golden_image=image)
    with zipfile.ZipFile(path) as archive:
        return rdf, {name: archive.read(name) for name in archive.namelist()}, path


def test_the_description_says_blocks_classes_and_dtype(package):
    rdf, files, _ = package
    assert json.loads(files["rdf.yaml"]) == rdf
    axis = block_axes(CONFIG.geometry)[0]
    image, output = rdf["inputs"][0], rdf["outputs"][0]
    assert image["data"]["type"] == "uint16"
    assert [a["size"] for a in image["axes"][2:]] == [{"min": axis.minimum, "step": axis.step}] * 2
    assert [a["halo"] for a in output["axes"][2:]] == [axis.halo] * 2
    assert output["axes"][1]["channel_names"] == list(DATA.class_names)
    assert rdf["license"] == "CC-BY-4.0"
    assert rdf["cite"] == [{"text": "The paper", "doi": "10.1007/978-3-319-24574-4_28"}]


@pytest.mark.parametrize(
    ("mean", "std", "dtype", "gain", "offset"),
    [
        ((), (), np.uint8, 1 / 255, 0.0),
        ((0.5,), (0.25,), np.uint8, 1 / (255 * 0.25), -2.0),
        ((0.5,), (0.25,), np.float32, 4.0, -2.0),
        ((0.5, 0.25), (0.2, 0.1), np.uint16, [1 / (65535 * 0.2), 1 / (65535 * 0.1)], [-2.5, -2.5]),
    ],
)
def test_gain_and_offset_come_from_the_full_scale_and_the_mean(mean, std, dtype, gain, offset):
    point = checkpoint(CONFIG.replace(in_channels=max(1, len(mean))), DataSpec(mean, std))
    before, step, after = bioimageio._preprocessing(point, np.dtype(dtype))
    assert before == after == {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}
    assert step["kwargs"]["gain"] == pytest.approx(gain)
    assert step["kwargs"]["offset"] == pytest.approx(offset)
    assert step["kwargs"].get("axis") == ("channel" if len(mean) > 1 else None)


def test_its_preprocessing_is_ours(package):
    rdf, files, _ = package
    image = np.load(io.BytesIO(files["test_input.npy"]))
    (kwargs,) = (step["kwargs"] for step in rdf["inputs"][0]["preprocessing"] if step["id"] == "scale_linear")
    gain, offset = (np.array(kwargs[key]).reshape(1, -1, 1, 1) for key in ("gain", "offset"))
    ours = prepare(np.moveaxis(image, 1, -1), CONFIG, DATA)
    np.testing.assert_allclose(np.moveaxis(image * gain + offset, 1, -1), ours, atol=1e-6)


def test_the_test_output_is_the_references_and_the_files_are_whole(package):
    _, files, _ = package
    image, expected = (np.load(io.BytesIO(files[f"test_{name}.npy"])) for name in ("input", "output"))
    assert image.shape[2:] == expected.shape[2:]
    assert expected.shape[1] == 3
    np.testing.assert_allclose(expected.sum(1), 1, atol=1e-6)
    width, height = Image.open(io.BytesIO(files["cover.png"])).size
    assert width == 2 * height
    assert len(files["cover.png"]) < 500_000
    assert b"| iou | 0.5 |" in files["README.md"]
    assert b"## Validation" in files["README.md"]


def test_the_unzipped_folder_is_the_checkpoint(package, tmp_path):
    with zipfile.ZipFile(package[2]) as archive:
        archive.extractall(tmp_path)
    loaded = Checkpoint.load(tmp_path)
    assert loaded.digest() == checkpoint().digest()
    assert loaded.data == DATA


@pytest.mark.parametrize(
    ("channels", "overlapping", "names"),
    [(1, False, ["class 1"]), (2, True, ["class 0", "class 1"]), (2, False, ["class 0", "class 1"])],
)
def test_one_logit_and_overlapping_classes_have_a_sigmoid(channels, overlapping, names, tmp_path):
    config = preset("paper", widths=(2, 3), out_channels=channels)
    rdf = write_bioimageio(checkpoint(config, DataSpec(overlapping=overlapping)), tmp_path / "m.zip", ENTRY)
    (output,) = rdf["outputs"]
    assert output["axes"][1]["channel_names"] == names
    alone = channels == 1 or overlapping
    assert output["postprocessing"][0]["id"] == ("sigmoid" if alone else "softmax")
    with zipfile.ZipFile(tmp_path / "m.zip") as archive:
        sums = np.load(io.BytesIO(archive.read("test_output.npy"))).sum(1)
    assert (np.abs(sums - 1).max() > 0.01) == alone


def test_equal_checkpoints_give_equal_files(tmp_path):
    small = checkpoint(preset("paper", widths=(2, 3)), DataSpec())
    for name in ("a.zip", "b.zip"):
        write_bioimageio(small, tmp_path / name, ENTRY)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": None}, "needs --licence, such as CC-BY-4.0"),
        ({"authors": ()}, "needs --author"),
        ({"cite": ()}, "needs --cite"),
        ({"cite": ("The paper",)}, "no DOI and no URL"),
        ({"title": "U/Net"}, "5 to 128 letters"),
        ({"authors": ("A/B",)}, "not the name of a person"),
    ],
)
def test_what_is_missing_is_asked_for(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        write_bioimageio(checkpoint(), tmp_path / "m.zip", ZooEntry(**{**vars(ENTRY), **change}))
    assert not list(tmp_path.iterdir())


def test_a_runtime_that_is_off_writes_nothing(tmp_path, monkeypatch):
    from unet_export.packages import bioimageio

    monkeypatch.setattr(bioimageio, "reference_logits", lambda *_: np.zeros((1, 99, 99, 3)) + 1.0)
    with pytest.raises(InputError, match="no model was written"):
        write_bioimageio(checkpoint(), tmp_path / "m.zip", ENTRY)
    assert not list(tmp_path.iterdir())


NETWORKS = {
    "paper": preset("paper", widths=(4, 6, 8, 8, 8)),
    "same": preset("same", widths=(4, 6, 8, 8, 8), out_channels=1),
    "3-D": preset("paper", widths=(3, 4), spatial_dims=3),
    "family": preset("sa-unet", widths=(4, 6, 8)),
}


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="UNET_BIOIMAGEIO_PYTHON is not set: a Python with bioimageio.core; see .ci/run")
@pytest.mark.parametrize("name", NETWORKS)
def test_bioimageio_core_accepts_it_and_its_blocks_equal_the_whole_image(name, tmp_path):
    config = NETWORKS[name]
    data = DataSpec((0.5,) * config.in_channels, (0.2,) * config.in_channels)
    point = checkpoint(config, data)
    write_bioimageio(point, tmp_path / "model.zip", ENTRY)
    axes = block_axes(config.geometry)
    size = [axis.minimum + 3 * axis.step for axis in axes]
    image = np.random.default_rng(1).integers(0, 256, (1, config.in_channels, *size)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image)
    script = Path(__file__).with_name("zoo_blocks.py")
    command = [str(PYTHON), str(script), *(str(tmp_path / f) for f in ("model.zip", "image.npy", "out.npz")), "1", "2"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]} | _home(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    found = np.load(tmp_path / "out.npz")
    for n in (1, 2):
        assert np.abs(found[f"blocks{n}"] - found["whole"]).max() <= 1e-6
    if config.geometry.halo() == (0, 0):  # no zeros at the border, as in `unet predict`
        prepared = prepare(np.moveaxis(image, 1, -1), config, data)
        runtime = OnnxRuntime(onnx_bytes(emit_onnx(config, point.tensors, data)))
        ours = runtime.run(whole_input(config.geometry, prepared[0]))[(slice(None), *map(slice, size))]
        # A probability changes by at most half as much as the logits.
        bound = FLOAT32_BOUND * np.abs(ours).max() / 2
        assert np.abs(np.moveaxis(probabilities(ours), -1, 1) - found["whole"]).max() <= bound


def _home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "BIOIMAGEIO_CACHE_PATH": str(folder / "cache")}


def test_the_description_states_versions_tolerances_and_files(package):
    rdf, files, _ = package
    assert (rdf["format_version"], rdf["type"], rdf["name"]) == ("0.5.12", "model", "unet 2D")
    own = rdf["config"]["bioimageio"]
    assert own["model_parameter_count"] == CONFIG.graph.parameter_count
    assert own["reproducibility_tolerance"] == [{"relative_tolerance": 1e-3, "absolute_tolerance": 1e-4}]
    assert rdf["config"]["unet-twins"] == {"checkpoint_digest": checkpoint().digest()}
    assert rdf["weights"]["onnx"]["opset_version"] == bioimageio.OPSET
    assert rdf["tags"] == ["unet", "segmentation", "semantic-segmentation", "2d", "onnx"]
    assert rdf["description"] == "Segments 2-D images into background, cell, border."
    assert [a["channel_names"] for a in rdf["inputs"][0]["axes"][1:2]] == [["channel 0", "channel 1"]]
    assert [a["id"] for a in rdf["outputs"][0]["axes"][2:]] == ["y", "x"]
    assert rdf["outputs"][0]["data"] == {"type": "float32", "range": [0.0, 1.0]}
    named = [each["source"] for each in (*rdf["covers"], *rdf["attachments"], rdf["documentation"])]
    named += [rdf["inputs"][0]["test_tensor"]["source"], rdf["outputs"][0]["test_tensor"]["source"]]
    assert {"rdf.yaml", rdf["weights"]["onnx"]["source"], *named} == set(files)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_test_image_is_the_middle_in_sizes_that_differ(dims):
    axes = block_axes(CONFIG.replace(spatial_dims=dims).geometry)
    size = [axis.minimum + (i * axis.step if dims == 2 else 0) for i, axis in enumerate(axes)]
    image = np.random.default_rng(0).random((*(n + 5 for n in size), 2))
    inner = tuple(slice(2, 2 + n) for n in size)
    np.testing.assert_array_equal(bioimageio._fitted(image, axes), image[inner])
    with pytest.raises(InputError, match=f"expected {dims} axes and the channels"):
        bioimageio._fitted(image[0], axes)


@pytest.mark.parametrize(
    ("side", "width"), [(100, 2 * 300), (256, 2 * 256), (200, 2 * 200), (520, 2 * 512), (20, 2 * 260)]
)
def test_a_cover_is_about_256_pixels_and_at_most_512(side, width):
    image = np.zeros((side, side + 3, 1), np.uint8)
    labels = np.zeros((side, side + 3), np.uint8)
    image[: side // 2], labels[:, : side // 4] = 200, 1
    cover = np.asarray(Image.open(io.BytesIO(bioimageio._cover(image, labels))))
    assert cover.shape == (width // 2, width, 3)
    part = width // 16
    assert cover[part, width // 2 - part, 0] >= 254  # the image, over its whole range
    assert cover[-part, width // 2 - part, 0] <= 1
    painted = np.round(0.55 * 255 + 0.45 * np.array(colour(1)))
    assert np.abs(cover[part, width // 2 + part].astype(int) - painted).max() <= 1


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("Ada 1843, doi:10.1000/x.1.", {"text": "Ada 1843", "doi": "10.1000/x.1"}),
        ("Ada 1843; https://doi.org/10.1000/x", {"text": "Ada 1843", "doi": "10.1000/x"}),
        ("Ada, http://a.org/b", {"text": "Ada", "url": "http://a.org/b"}),
        ("https://a.org/b", {"text": "https://a.org/b", "url": "https://a.org/b"}),
    ],
)
def test_citations_have_a_text_and_a_place(text, entry):
    assert bioimageio._citation(text) == entry


@pytest.mark.parametrize(("length", "fits"), [(4, False), (5, True), (128, True), (129, False)])
def test_a_title_has_5_to_128_characters(length, fits):
    entry = ZooEntry(**{**vars(ENTRY), "title": "x" * length})
    if fits:
        entry.check()
    else:
        with pytest.raises(InputError, match="5 to 128 letters"):
            entry.check()
