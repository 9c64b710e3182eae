"""Resampled images, labels and outputs: places to a fraction of a pixel, identity, and consistency by windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unet_data import (
    IGNORED,
    Dataset,
    FileFacts,
    Picture,
    TargetSpacing,
    predict_image,
    probabilities,
    resample_dataset,
)
from unet_data.spacing.resample import Grids, grids_of, noted
from unet_spec import DataSpec, InputError, preset

EXTENT, CENTRE, RADIUS = (24.0, 30.0, 36.0), (10.3, 17.1, 15.2), 7.0
TARGET = TargetSpacing((1.0, 1.0, 1.0), "mm")


def ball(spacing, extent=EXTENT, centre=CENTRE) -> np.ndarray:
    """The mask of a ball (a disk in 2-D) of known physical size, in pixels of `spacing`."""
    axes = [(np.arange(round(e / s)) + 0.5) * s for e, s in zip(extent, spacing, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return sum((a - c) ** 2 for a, c in zip(grid, centre, strict=True)) < RADIUS**2


def centre_of(weights: np.ndarray, extent) -> np.ndarray:
    """The centre of mass, as a length from the first edge of the image."""
    steps = [e / n for e, n in zip(extent, weights.shape, strict=True)]
    grid = np.meshgrid(*[(np.arange(n) + 0.5) * s for n, s in zip(weights.shape, steps, strict=True)], indexing="ij")
    return np.array([(g * weights).sum() / weights.sum() for g in grid])


def of_balls(*spacings, dims=3, instances=False) -> Dataset:
    masks = [ball(s, EXTENT[-dims:], CENTRE[-dims:]) for s in spacings]
    return Dataset(
        images=tuple((mask * np.uint8(200))[..., None] for mask in masks),
        labels=tuple(mask.astype(np.int32) for mask in masks),
        names=tuple(f"ball {i}" for i in range(len(masks))),
        class_names=("background", "ball"),
        source="balls",
        instances=tuple(7 * mask.astype(np.int32) for mask in masks) if instances else None,
        facts=tuple(FileFacts(spacing=s, unit="mm") for s in spacings),
    )


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 0.5), (0.5, 0.75, 1.5), (4.0, 1.0, 1.0)])
def test_an_object_keeps_its_place_and_size(spacing):
    found = resample_dataset(of_balls(spacing), TARGET)
    assert found.images[0].shape == (24, 30, 36, 1)
    assert found.images[0].dtype == np.uint8
    np.testing.assert_allclose(centre_of(found.images[0][..., 0].astype(float), EXTENT), CENTRE, atol=0.15)
    np.testing.assert_allclose(centre_of(found.labels[0].astype(float), EXTENT), CENTRE, atol=0.2)
    expected = ball((1.0, 1.0, 1.0))
    assert 2 * (found.labels[0] & expected).sum() / (found.labels[0].sum() + expected.sum()) > 0.9
    assert (found.facts[0].spacing, found.spacing) == ((1.0, 1.0, 1.0), TARGET)


def test_images_as_well():
    target = TargetSpacing((1000.0, 1000.0), "µm")
    found = resample_dataset(of_balls((0.5, 2.0), dims=2, instances=True), target)
    assert found.images[0].shape == (30, 36, 1)
    np.testing.assert_allclose(centre_of(found.labels[0].astype(float), EXTENT[-2:]), CENTRE[-2:], atol=0.2)
    assert found.instances is not None
    np.testing.assert_array_equal(found.instances[0], 7 * found.labels[0])


def test_nothing_changes_at_the_target():
    data = of_balls((1.0, 1.0, 1.0), (2.0, 1.0, 1.0))
    found = resample_dataset(data, TARGET)
    assert found.images[0] is data.images[0]
    assert found.labels[0] is data.labels[0]
    again = resample_dataset(found, TARGET)
    assert again.images[1] is found.images[1]
    assert again.spacing == TARGET
    assert resample_dataset(data, TargetSpacing(())) is data
    unknown = replace(data, facts=())
    assert resample_dataset(unknown, TARGET).images == unknown.images


def test_ignored_pixels_stay_ignored():
    data = of_balls((2.0, 1.0, 1.0))
    label = data.labels[0].copy()
    label[:6] = IGNORED
    found = resample_dataset(replace(data, labels=(label,), ignore=255), TARGET)
    assert (found.labels[0][:12] == IGNORED).all()
    assert (found.labels[0][13:] != IGNORED).all()


def test_a_picture_is_the_image_in_every_window():
    image = np.random.default_rng(0).integers(0, 60000, (9, 14, 12, 2)).astype(np.uint16)
    facts = FileFacts(spacing=(5.0, 1.0, 1.3), unit="mm")
    grids = grids_of(image.shape[:-1], facts, TARGET)
    assert grids is not None
    assert grids.orders == (1, 3, 3)
    picture = grids.picture(Picture(image.shape, image.__getitem__, "memory", facts=facts))
    whole = grids.image(image)
    assert picture.shape == whole.shape == (45, 14, 16, 2)
    for window in ((slice(0, 45), slice(0, 14), slice(0, 16)), (slice(20, 33), slice(3, 4), slice(15, 16))):
        np.testing.assert_array_equal(picture[window], whole[window])
    assert picture[0:0, 0:2, 0:2].size == 0


def test_a_value_for_missing_data_is_not_mixed_with_others():
    image = np.full((6, 8, 1), 10.0, np.float32)
    image[:, 4:] = -9999
    grids = grids_of((6, 8), FileFacts(spacing=(1.0, 1.0), unit="mm", nodata=-9999.0), TargetSpacing((0.4, 0.4), "mm"))
    assert grids is not None
    assert set(np.unique(grids.image(image))) == {10.0, -9999.0}


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
    found = grids.outputs(outputs, config, overlapping)
    count = config.out_channels
    before, after = (probabilities(o[..., :count], overlapping) for o in (outputs, found))
    np.testing.assert_allclose(after[4], 0.75 * before[2] + 0.25 * before[1], atol=1e-5)
    np.testing.assert_allclose(after[0], before[0], atol=1e-5)
    if config.distance_head:
        np.testing.assert_allclose(found[4, :, -1], 0.75 * outputs[2, :, -1] + 0.25 * outputs[1, :, -1], atol=1e-5)
    window = (slice(2, 9, 3), slice(1, 4))
    np.testing.assert_array_equal(grids.outputs(outputs, config, overlapping, window), found[window])


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


def test_a_decision_says_what_was_done():
    data, shape = DataSpec(spacing=(1.0, 1.0), spacing_unit="mm"), (8, 8)
    assert noted(FileFacts(spacing=(1.0, 1.0), unit="mm"), shape, data).read_as == ()
    assert noted(FileFacts(), shape, DataSpec()).read_as == ()
    [done] = noted(FileFacts(spacing=(2.0, 1.0), unit="mm"), shape, data).read_as
    assert done == "resampled to pixels of 1 x 1 mm for the network, and its result back"
    [unknown] = noted(FileFacts(), shape, data).read_as
    assert unknown == "not resampled, since no pixel size is stated; the network expects pixels of 1 x 1 mm"


def test_images_in_files_and_ones_too_large_are_refused(tmp_path, monkeypatch):
    from unet_data import open_stored

    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", np.eye(16, dtype=np.uint8))
    stored = replace(open_stored(tmp_path), facts=(FileFacts(spacing=(2.0, 1.0), unit="mm"),))
    with pytest.raises(InputError, match="--loader memory, write resampled files, or give --spacing none"):
        resample_dataset(stored, TargetSpacing((1.0, 1.0), "mm"))
    monkeypatch.setenv("UNET_MEMORY", "1MiB")
    with pytest.raises(InputError, match="balls: resampled images need"):
        resample_dataset(of_balls((2.0, 1.0, 1.0)), TargetSpacing((0.1, 0.1, 0.1), "mm"))
