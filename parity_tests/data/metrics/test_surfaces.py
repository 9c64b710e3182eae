"""Surface scores: by hand, against all pairs of points and scikit-image, of awkward masks."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage.metrics import hausdorff_distance

from unet_data import IGNORED, Dataset, SurfaceScores, measure_in_detail
from unet_data.io.facts import FileFacts
from unet_data.metrics.surfaces import PIXELS, pixel_sizes, surface, surface_distances
from unet_spec import DataSpec, InputError, preset

NAMES = ("background", "cell")


def blobs(seed, shape):
    rng = np.random.default_rng(seed)
    grids = np.indices(shape)
    mask = np.zeros(shape, bool)
    for _ in range(3):
        middle = rng.uniform(0.2, 0.8, len(shape)) * shape
        distance = sum((g - m) ** 2 for g, m in zip(grids, middle, strict=True))
        mask |= distance < rng.uniform(2, 6) ** 2
    return mask


@pytest.mark.parametrize(
    ("shape", "spacing"), [((31, 26), (1.0, 1.0)), ((23, 30), (0.5, 2.0)), ((9, 17, 15), (5, 1, 1))]
)
@pytest.mark.parametrize("seed", range(5))
def test_distances_are_those_between_all_pairs_of_surface_pixels(seed, shape, spacing):
    guess, truth = blobs(seed, shape), blobs(seed + 100, shape)
    points = [np.argwhere(surface(mask)) * spacing for mask in (guess, truth)]
    pairs = cdist(*points)
    to_truth, to_guess = surface_distances(guess, truth, spacing)
    np.testing.assert_allclose(to_truth, pairs.min(1), atol=1e-12)
    np.testing.assert_allclose(to_guess, pairs.min(0), atol=1e-12)
    scores = SurfaceScores(NAMES, 2.5)
    scores.add(guess.astype(int), truth.astype(int), spacing)
    expected = max(np.percentile(pairs.min(1), 95), np.percentile(pairs.min(0), 95))
    assert scores.scores["hausdorff95"] == pytest.approx(expected, abs=1e-12)
    within = (pairs.min(1) <= 2.5).sum() + (pairs.min(0) <= 2.5).sum()
    assert scores.scores["surface_dice"] == pytest.approx(within / sum(pairs.shape), abs=1e-12)
    if len(set(spacing)) == 1:
        largest = max(to_truth.max(), to_guess.max())
        assert largest == pytest.approx(hausdorff_distance(surface(guess), surface(truth)), abs=1e-12)


def test_by_hand():
    """A square moved by two pixels: of its 36 surface pixels, and of the other's, 20 lie within one pixel."""
    label = np.zeros((20, 20), int)
    label[5:15, 5:15] = 1
    scores = SurfaceScores(NAMES, 1)
    scores.add(np.roll(label, 2, axis=0), label, (1, 1))
    assert scores.scores == {"hausdorff95": 2.0, "surface_dice": 40 / 72}
    scores = SurfaceScores(NAMES, 0.5)
    scores.add(np.roll(label, 2, axis=0), label, (0.25, 1))  # now half a unit
    assert scores.scores == {"hausdorff95": 0.5, "surface_dice": 1.0}


def test_a_missing_class_counts_with_the_diagonal_and_one_in_neither_not_at_all():
    cell, empty = np.zeros((2, 6, 8), int)
    cell[2:4, 2:4] = 1
    scores = SurfaceScores((*NAMES, "other"), 1)
    scores.add(cell, cell, (1, 1))
    scores.add(empty, cell, (1, 1))
    scores.add(2 * cell, empty, (3, 1))
    scores.add(empty, empty, (1, 1))
    found = scores.scores
    assert found["hausdorff95 cell"] == (0 + 10) / 2
    assert found["surface_dice cell"] == 0.5
    assert found["hausdorff95 other"] == math.hypot(18, 8)
    assert found["surface_dice other"] == 0
    assert found["hausdorff95"] == (5 + math.hypot(18, 8)) / 2
    assert found["surface_dice"] == 0.25
    assert math.isnan(SurfaceScores(NAMES, 1).scores["hausdorff95"])


def test_a_class_that_fills_the_image_has_no_surface():
    full = np.ones((4, 4), int)
    scores = SurfaceScores(NAMES, 1)
    scores.add(full, full, (1, 1))
    assert scores.scores == {"hausdorff95": 0.0, "surface_dice": 1.0}
    half = full.copy()
    half[:2] = 0
    scores.add(full, half, (3, 4))
    assert scores.scores == {"hausdorff95": 10.0, "surface_dice": 0.5}


def test_ignored_pixels_are_background():
    label = np.zeros((12, 12), int)
    label[2:6, 2:6] = 1
    guess = label.copy()
    guess[8:, 8:] = 1
    label[7:, 7:] = IGNORED
    scores = SurfaceScores(NAMES, 1)
    scores.add(guess, label, (1, 1))
    assert scores.scores == {"hausdorff95": 0.0, "surface_dice": 1.0}


@pytest.mark.parametrize("tolerance", [0, -1, math.inf, math.nan])
def test_a_tolerance_is_above_0(tolerance):
    with pytest.raises(InputError, match=r"the tolerance of the surface Dice is .*; it must be above 0"):
        SurfaceScores(NAMES, tolerance)


def of(*facts):
    images = tuple(np.zeros((8, 8, 1), np.uint8) for _ in facts)
    labels = tuple(np.zeros((8, 8), np.int32) for _ in facts)
    return Dataset(images, labels, tuple("abc"[: len(facts)]), NAMES, "made", facts=facts)


def test_the_pixel_size_is_that_of_the_files_where_all_of_them_say_it_in_one_unit():
    plane, stack = FileFacts(spacing=(0.5, 0.25), unit="mm"), FileFacts(spacing=(9.0, 0.5, 0.25), unit="mm")
    assert pixel_sizes(of(plane, stack)) == ([(0.5, 0.25)] * 2, "mm")
    words = (FileFacts(spacing=(0.5, 0.25), unit=unit) for unit in ("um", "micron"))
    assert pixel_sizes(of(*words)) == ([(0.5, 0.25)] * 2, "µm")
    for other in (FileFacts(), FileFacts(spacing=(0.5, 0.25), unit="cm"), FileFacts(spacing=(0.5, 0.25))):
        assert pixel_sizes(of(plane, other)) == ([(1.0, 1.0)] * 2, PIXELS)


def test_a_measurement_has_them_of_each_image_in_its_own_pixel_size():
    sizes = [(0.5, 0.5), (2.0, 2.0)]
    dataset = of(*(FileFacts(spacing=size, unit="mm") for size in sizes))
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        label[2:5, 2:5] = 1
        image[2:5, 3:6] = 255  # predicted one pixel beside it

    def bright(images):  # stands for a network
        return np.concatenate([0.5 - images, images - 0.5], -1)

    found = measure_in_detail(bright, preset("same"), DataSpec(), dataset, surfaces=SurfaceScores(NAMES, 1.0))
    assert found.scores["hausdorff95"] == pytest.approx((0.5 + 2.0) / 2)
    assert 0.5 < found.scores["surface_dice"] < 1
    with pytest.raises(InputError, match="surface scores need one class per pixel"):
        measure_in_detail(bright, preset("same"), DataSpec(overlapping=True), dataset, surfaces=SurfaceScores(NAMES, 1))
