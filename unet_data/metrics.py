"""Measures of a segmentation, all from one confusion matrix.

Counts add up over images: sum the matrices, then measure. A class that occurs neither in the labels nor in the
prediction has no score: it is NaN and the mean leaves it out (scoring it 0 or 1 would move the mean by pixels that
do not exist). A class that occurs in one of them only scores 0.
"""

from typing import NamedTuple

import numpy as np

from unet_spec.errors import InputError


class ClassScores(NamedTuple):
    """per_class: (K,) float64 in 0..1, NaN for absent classes. mean: over the classes that are not NaN, or NaN."""

    per_class: np.ndarray
    mean: float


def confusion(prediction: np.ndarray, label: np.ndarray, classes: int, ignore: int | None = None) -> np.ndarray:
    """Counts of pixels by label (row) and prediction (column): (K, K) int64.

    prediction, label: class indices 0..K-1, integer or boolean, any equal shape. Pixels whose label is `ignore` are
    left out, whatever was predicted there.
    Raises InputError for unequal shapes, floats (take the argmax first) and values outside 0..K-1.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if classes < 1:
        raise InputError(f"a confusion matrix needs 1 class or more, not {classes}")
    if prediction.shape != label.shape:
        raise InputError(f"the prediction has shape {prediction.shape} but the label {label.shape}; they must be equal")
    for name, array in (("prediction", prediction), ("label", label)):
        if array.dtype.kind not in "bui":
            raise InputError(f"the {name} is {array.dtype}; give class indices as integers (argmax of the logits)")
    truth, guess = label.ravel().astype(np.int64), prediction.ravel().astype(np.int64)
    if ignore is not None:
        counted = truth != ignore
        truth, guess = truth[counted], guess[counted]
    for name, array in (("prediction", guess), ("label", truth)):
        if array.size and (array.min() < 0 or array.max() >= classes):
            raise InputError(
                f"the {name} has values from {array.min()} to {array.max()}; "
                f"with {classes} classes they must lie in 0..{classes - 1}"
            )
    return np.bincount(truth * classes + guess, minlength=classes * classes).reshape(classes, classes)


def pixel_accuracy(matrix: np.ndarray) -> float:
    """The fraction of counted pixels that are right, trace / sum, in 0..1; NaN where nothing was counted.

    matrix: (K, K) integer counts from `confusion`. Raises InputError for another shape or negative counts.
    """
    matrix = _checked(matrix)
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else float("nan")


def iou(matrix: np.ndarray) -> ClassScores:
    """Intersection over union (Jaccard index) of each class: TP / (TP + FP + FN).

    matrix: (K, K) integer counts from `confusion`. Source: Jaccard 1912; Everingham et al. 2010 for segmentation.
    Raises InputError as `pixel_accuracy`.
    """
    matrix = _checked(matrix)
    right = np.diag(matrix)
    return _scores(right, matrix.sum(axis=0) + matrix.sum(axis=1) - right)


def dice(matrix: np.ndarray) -> ClassScores:
    """Dice coefficient (F1) of each class: 2 TP / (2 TP + FP + FN).

    matrix: (K, K) integer counts from `confusion`. Source: Dice 1945, Sørensen 1948.
    Raises InputError as `pixel_accuracy`.
    """
    matrix = _checked(matrix)
    return _scores(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def _checked(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix)
    square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] and matrix.size > 0
    if not square or matrix.dtype.kind not in "ui" or (matrix < 0).any():
        raise InputError(
            f"a confusion matrix is (K, K) with integer counts of 0 or more, not {matrix.shape} {matrix.dtype}"
        )
    return matrix.astype(np.int64)


def _scores(above: np.ndarray, below: np.ndarray) -> ClassScores:
    present = below > 0
    per_class = np.full(below.shape, np.nan)
    per_class[present] = above[present] / below[present]
    return ClassScores(per_class, float(per_class[present].mean()) if present.any() else float("nan"))
