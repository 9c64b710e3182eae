"""Metrics: by hand, against sets of pixels, and against scikit-image's contingency table."""

import numpy as np
import pytest

from unet_data import confusion, dice, iou, pixel_accuracy
from unet_spec import InputError

LABEL = np.array([[0, 0, 1], [1, 2, 2]])
PREDICTION = np.array([[0, 1, 1], [1, 2, 0]])


def test_by_hand():
    matrix = confusion(PREDICTION, LABEL, 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert pixel_accuracy(matrix) == 4 / 6
    np.testing.assert_allclose(iou(matrix).per_class, [1 / 3, 2 / 3, 1 / 2])
    np.testing.assert_allclose(dice(matrix).per_class, [2 / 4, 4 / 5, 2 / 3])
    np.testing.assert_allclose(iou(matrix).mean, (1 / 3 + 2 / 3 + 1 / 2) / 3)
    np.testing.assert_allclose(dice(matrix).mean, (2 / 4 + 4 / 5 + 2 / 3) / 3)


def test_absent_classes_are_nan_and_left_out_of_the_mean():
    matrix = confusion(PREDICTION, LABEL, 5)
    assert np.isnan(iou(matrix).per_class[3:]).all()
    assert iou(matrix).mean == iou(confusion(PREDICTION, LABEL, 3)).mean
    only_predicted = confusion(np.array([0, 1]), np.array([0, 0]), 3)
    np.testing.assert_array_equal(dice(only_predicted).per_class, [2 / 3, 0, np.nan])
    assert dice(only_predicted).mean == (2 / 3 + 0) / 2


def test_nothing_counted_is_nan_without_a_warning():
    matrix = confusion(np.zeros(3, int), np.full(3, 9), 2, ignore=9)
    assert matrix.sum() == 0
    assert np.isnan([pixel_accuracy(matrix), iou(matrix).mean, dice(matrix).mean]).all()


def test_ignored_pixels_do_not_count_whatever_was_predicted():
    label = np.array([0, 1, 255, 255])
    matrix = confusion(np.array([0, 1, 0, 77]), label, 2, ignore=255)
    assert matrix.tolist() == [[1, 0], [0, 1]]
    assert confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), 2, ignore=0).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_against_sets_of_pixels(seed):
    rng = np.random.default_rng(seed)
    label, prediction = rng.integers(0, 4, (2, 7, 9, 3))
    matrix = confusion(prediction.astype(np.uint8), label.astype(np.int32), 4)
    for value in range(4):
        truth, guess = ({tuple(p) for p in np.argwhere(array == value)} for array in (label, prediction))
        assert iou(matrix).per_class[value] == len(truth & guess) / len(truth | guess)
        assert dice(matrix).per_class[value] == 2 * len(truth & guess) / (len(truth) + len(guess))
    assert pixel_accuracy(matrix) == (label == prediction).mean()


def test_against_scikit_image():
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    label, prediction = np.random.default_rng(0).integers(0, 4, (2, 20, 21))
    table = metrics.contingency_table(label, prediction)
    np.testing.assert_array_equal(confusion(prediction, label, 4), np.asarray(table.todense()))


def test_matrices_add_up():
    label, prediction = np.random.default_rng(1).integers(0, 3, (2, 4, 50))
    parts = sum(confusion(p, t, 3) for p, t in zip(prediction, label, strict=True))
    np.testing.assert_array_equal(parts, confusion(prediction, label, 3))


def test_booleans_are_two_classes():
    assert confusion(np.array([True, False]), np.array([True, True]), 2).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros((2, 3), int), np.zeros((3, 2), int), 2), "shape (2, 3)"),
        ((np.zeros(3), np.zeros(3, int), 2), "prediction is float64"),
        ((np.zeros(3, int), np.zeros(3, np.float32), 2), "label is float32"),
        ((np.array([0, 2]), np.array([0, 1]), 2), "prediction has values from 0 to 2"),
        ((np.array([0, 1]), np.array([0, 255]), 2), "label has values from 0 to 255"),
        ((np.array([-1]), np.array([0]), 2), "values from -1"),
        ((np.array([0]), np.array([0]), 0), "1 class or more"),
    ],
)
def test_bad_input(arguments, words):
    with pytest.raises(InputError) as caught:
        confusion(*arguments)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "matrix", [np.zeros((2, 3), int), np.zeros((2, 2)), -np.eye(2, dtype=int), np.zeros((0, 0), int)]
)
@pytest.mark.parametrize("metric", [pixel_accuracy, iou, dice])
def test_what_is_no_confusion_matrix(metric, matrix):
    with pytest.raises(InputError, match="confusion matrix"):
        metric(matrix)
