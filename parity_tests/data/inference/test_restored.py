"""Results of resampled images, on the images' own pixels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile

from unet_data import (
    FileFacts,
    ObjectSettings,
    OpenNetwork,
    PredictSettings,
    measure,
    predict_file,
    predict_image,
    probabilities,
    read_labels,
)
from unet_data.inference.output import Output, on_own_pixels
from unet_data.inference.restored import Restored
from unet_data.spacing.grids import Grids
from unet_spec import DataSpec, preset

from ..io.stores.http_server import serving
from ..spacing.balls import CENTRE, EXTENT, ball, centre_of, of_balls

CONFIGS = {
    "two classes": (preset("same", widths=(2, 4)), False),
    "one logit": (preset("same", widths=(2, 4), out_channels=1), False),
    "overlapping": (preset("same", widths=(2, 4), out_channels=3), True),
    "distance": (preset("same", widths=(2, 4), distance_head=True), False),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_probabilities_are_interpolated_not_logits(name):
    config, overlapping = CONFIGS[name]
    outputs = np.random.default_rng(0).normal(size=(5, 6, config.output_channels)).astype(np.float32) * 4
    grids = Grids((10, 6), (5, 6), (3, 3))
    found = on_own_pixels(outputs, grids, config, overlapping)
    count = config.out_channels
    before, after = (probabilities(o[..., :count], overlapping) for o in (outputs, found))
    np.testing.assert_allclose(after[4], 0.75 * before[2] + 0.25 * before[1], atol=1e-5)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    if config.distance_head:
        np.testing.assert_allclose(found[4, :, -1], 0.75 * outputs[2, :, -1] + 0.25 * outputs[1, :, -1], atol=1e-5)
    window = (slice(2, 9, 3), slice(1, 4))
    np.testing.assert_array_equal(on_own_pixels(outputs, grids, config, overlapping, window), found[window])


def bright(images: np.ndarray) -> np.ndarray:
    """Stands for a network: class 1 where the image is bright."""
    return 20 * np.concatenate([0.4 - images, images - 0.4], -1)


def test_a_prediction_has_the_images_own_pixels():
    config = preset("same", widths=(2, 4), spatial_dims=3)
    data = DataSpec(spacing=(1.0, 1.0, 1.0), spacing_unit="mm")
    [image], seen = of_balls((2.0, 1.0, 0.5)).images, []

    def run(images: np.ndarray) -> np.ndarray:
        seen.append(images.shape[1:-1])
        return bright(images)

    facts = FileFacts(spacing=(2.0, 1.0, 0.5), unit="mm")
    logits = predict_image(run, image, config, data, facts=facts)
    assert logits.shape == (12, 30, 72, 2)
    assert all(shape[0] >= 24 for shape in seen)
    guess, truth = logits.argmax(-1), image[..., 0] > 0
    np.testing.assert_allclose(centre_of(guess.astype(float), EXTENT), centre_of(truth.astype(float), EXTENT), atol=0.1)
    assert (guess == truth).mean() > 0.97
    same = predict_image(run, image, config, data)  # states no pixel size: used as it is
    np.testing.assert_array_equal(same, predict_image(run, image, config, DataSpec(), facts=facts))


class Bright:
    """A runtime that computes `bright`."""

    name, run = "bright", staticmethod(bright)

    def __init__(self, dims: int):
        self.config = preset("same", widths=(2, 4), spatial_dims=dims)


def network(*spacing: float) -> OpenNetwork:
    """A network that expects this pixel size, in mm; without one, any."""
    data = DataSpec(spacing=spacing, spacing_unit="mm" if spacing else "")
    return OpenNetwork(Bright(len(spacing) or 3), data)


def write_nifti(path: Path, image: np.ndarray, spacing: tuple[float, ...]) -> Path:
    file = nibabel.Nifti1Image(image.transpose(2, 1, 0), np.diag([*spacing[::-1], 1.0]))
    file.header.set_xyzt_units("mm")
    nibabel.save(file, path)
    return path


def write_ome(path: Path, image: np.ndarray, spacing: tuple[float, ...]) -> Path:
    """An OME-TIFF; `spacing` in mm is written in micrometres."""
    names = "ZYX"[-image.ndim :]
    sizes = {f"PhysicalSize{n}": 1000 * s for n, s in zip(names, spacing, strict=True)}
    units = {f"PhysicalSize{n}Unit": "µm" for n in names}
    tifffile.imwrite(path, image, ome=True, metadata={"axes": names, **sizes, **units}, photometric="minisblack")
    return path


@pytest.mark.parametrize(("write", "name"), [(write_nifti, "a.nii.gz"), (write_ome, "a.ome.tif")])
@pytest.mark.parametrize("memory", [None, 2])
def test_a_file_is_predicted_at_the_target_and_written_with_its_own_pixels(tmp_path, monkeypatch, write, name, memory):
    """Volumes in two formats; also with windows of a few planes."""
    if memory:
        monkeypatch.setattr("unet_data.inference.restored.BAND", 500)
    spacing = (2.0, 1.0, 0.75)
    mask = ball(spacing)
    source = write(tmp_path / name, mask * np.uint8(200), spacing)
    done = predict_file(network(1.0, 1.0, 1.0), source, tmp_path / "o.nii.gz")
    assert done.shape == mask.shape == (12, 30, 48)
    assert done.plan.tiles.image == (24, 30, 36)
    assert "resampled to pixels of 1 x 1 x 1 mm for the network, and its result back" in done.facts.read_as
    found = read_labels(tmp_path / "o.nii.gz")
    np.testing.assert_allclose(centre_of(found, EXTENT), centre_of(mask, EXTENT), atol=0.1)
    assert (found == mask).mean() > 0.98
    assert done.shares[1] == pytest.approx(found.mean())
    expected = predict_image(bright, (mask * np.uint8(200))[..., None], *_of(network(1.0, 1.0, 1.0)), facts=done.facts)
    np.testing.assert_array_equal(found, expected.argmax(-1))


def _of(opened: OpenNetwork):
    return opened.config, opened.data


def test_planes_as_well(tmp_path):
    mask = ball((2.0, 0.5), EXTENT[1:], CENTRE[1:])
    source = write_ome(tmp_path / "a.ome.tif", mask * np.uint8(200), (2.0, 0.5))
    done = predict_file(network(1.0, 1.0), source, tmp_path / "o.tif", PredictSettings("probabilities"))
    assert done.shape == mask.shape == (15, 72)
    chances = tifffile.imread(tmp_path / "o.tif")
    np.testing.assert_allclose(centre_of(chances, EXTENT[1:]), centre_of(mask, EXTENT[1:]), atol=0.1)


def test_objects_are_made_on_the_images_own_pixels(tmp_path):
    mask = ball((2.0, 0.5), EXTENT[1:], CENTRE[1:])
    source = write_ome(tmp_path / "a.ome.tif", mask * np.uint8(200), (2.0, 0.5))
    settings = PredictSettings("objects", objects=ObjectSettings(), table=tmp_path / "t.csv")
    done = predict_file(network(1.0, 1.0), source, tmp_path / "o.tif", settings)
    assert done.objects is not None
    assert done.objects.counts == {"class 1": 1}
    assert ((tifffile.imread(tmp_path / "o.tif") == 1) == mask).mean() > 0.97


@pytest.mark.parametrize("target", [(2.0, 1.0, 0.75), (2.02, 1.0, 0.75), ()])
def test_nothing_changes_where_the_image_has_the_targets_pixels(tmp_path, target):
    image = np.random.default_rng(0).integers(0, 255, (12, 20, 16), np.uint8)
    source = write_nifti(tmp_path / "a.nii", image, (2.0, 1.0, 0.75))
    settings = PredictSettings("probabilities")
    predict_file(network(), source, tmp_path / "plain.nii", settings)
    done = predict_file(network(*target), source, tmp_path / "o.nii", settings)
    assert (tmp_path / "o.nii").read_bytes() == (tmp_path / "plain.nii").read_bytes()
    assert not done.facts.read_as


def test_a_file_without_a_pixel_size_is_used_as_it_is_and_that_is_said(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((12, 20, 16), np.uint8))
    done = predict_file(network(1.0, 1.0, 1.0), tmp_path / "a.npy", tmp_path / "o.npy")
    assert done.shape == done.plan.tiles.image == (12, 20, 16)
    [said] = done.facts.read_as
    assert said == "not resampled, since no pixel size is stated; the network expects pixels of 1 x 1 x 1 mm"


class Outputs:
    """Outputs in memory, read by windows."""

    spatial_dims, dtype = 2, np.dtype(np.float32)

    def __init__(self, values: np.ndarray):
        self.values, self.shape = values, values.shape

    def window(self, start, stop, step=1):
        return self.values[tuple(slice(a, b, step) for a, b in zip(start, stop, strict=True))]


def test_windows_and_pyramids_are_cut_out_of_the_whole(monkeypatch):
    config, overlapping = CONFIGS["two classes"]
    outputs = np.random.default_rng(0).normal(size=(12, 9, 2)).astype(np.float32)
    grids, output = Grids((30, 17), (12, 9), (3, 3)), Output("probabilities", "float32")
    restored = Restored(Outputs(outputs), grids, output, config)
    whole = output.of(on_own_pixels(outputs, grids, config, overlapping))
    assert restored.shape == whole.shape == (30, 17)
    np.testing.assert_array_equal(restored.window((0, 0), (99, 99)), whole)
    monkeypatch.setattr("unet_data.inference.restored.BAND", 40)
    np.testing.assert_array_equal(restored.window((4, 8), (29, 99), 4), whole[4:29:4, 8::4])
    np.testing.assert_array_equal(restored.window((0, 3), (30, 17)), whole[:, 3:])


def test_scores_are_those_of_the_images_own_pixels():
    """The counts of the confusion have as many pixels as the labels, and a resampled ball is nearly the label."""
    data, opened = of_balls((2.0, 1.0, 0.75), (1.0, 1.0, 1.0)), network(1.0, 1.0, 1.0)
    seen = []
    scores = measure(bright, *_of(opened), data, each=lambda logits, label: seen.append((logits.shape, label.shape)))
    assert [logits[:-1] for logits, _ in seen] == [label for _, label in seen] == [(12, 30, 48), (24, 30, 36)]
    assert scores["dice"] > 0.95
    wrong = measure(bright, opened.config, DataSpec(spacing=(9.0, 9.0, 9.0), spacing_unit="mm"), data)
    assert wrong["dice"] < scores["dice"]


def test_a_remote_image_is_resampled_as_a_local_one(tmp_path):
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    image = np.random.default_rng(0).integers(0, 255, (12, 32, 48), np.uint8)
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 1.0, "PhysicalSizeX": 0.5}
    units = {f"{name}Unit": "mm" for name in sizes}
    (tmp_path / "served").mkdir()
    source = tmp_path / "served" / "a.ome.tif"
    tifffile.imwrite(source, image, ome=True, tile=(16, 16), metadata={"axes": "ZYX", **sizes, **units})
    opened, settings = network(1.0, 1.0, 1.0), PredictSettings("probabilities")
    near = predict_file(opened, source, tmp_path / "near.tif", settings)
    with serving(tmp_path / "served") as (url, _):
        far = predict_file(opened, url / "a.ome.tif", tmp_path / "far.tif", settings)
    assert near.plan.tiles.image == far.plan.tiles.image == (24, 32, 24)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "far.tif"), tifffile.imread(tmp_path / "near.tif"))
