"""Measures of a segmentation from a confusion matrix.

For several images, sum the matrices, then measure. A class that occurs neither in the labels nor in the prediction has
the score NaN, which the mean leaves out, since a score of 0 or 1 would change the mean because of no pixel. A class
that occurs in only one of them scores 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from unet_spec.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, Integer, Shaped


class ClassScores(NamedTuple):
    """A score of each class, and their mean.

    Attributes:
        per_class: (K,) in 0..1, NaN for absent classes.
        mean: over the classes that are not NaN; NaN if all are.

    Example:
        >>> from unet_data import ClassScores
        >>> ClassScores(np.array([1.0, 0.5]), 0.75).mean
        0.75
    """

    per_class: Float64[np.ndarray, " k"]
    mean: float


def confusion(
    prediction: Shaped[np.ndarray, "*n"], label: Shaped[np.ndarray, "*n"], classes: int, ignore: int | None = None
) -> Int64[np.ndarray, "k k"]:
    """Counts of pixels by label (row) and prediction (column).

    Args:
        prediction, label: class indices 0..K-1, integer or boolean, of the same shape.
        classes: K.
        ignore: pixels with this label are left out, whatever the prediction.

    Raises:
        InputError: shapes differ, values are floats (take the argmax first), or lie outside 0..K-1.

    Example:
        >>> from unet_data import confusion
        >>> confusion(np.array([0, 1, 1, 1]), np.array([0, 0, 1, -1]), classes=2, ignore=-1).tolist()
        [[1, 1], [0, 1]]
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


def pixel_accuracy(matrix: Integer[np.ndarray, "k k"]) -> float:
    """The fraction of right pixels, trace / sum, in 0..1; NaN if no pixel was counted.

    Args:
        matrix: counts from `confusion`.

    Raises:
        InputError: the matrix has another shape, or negative counts.

    Example:
        >>> from unet_data import pixel_accuracy
        >>> pixel_accuracy(np.array([[3, 1], [0, 4]]))
        0.875
    """
    matrix = _checked(matrix)
    total = int(matrix.sum())
    return float(np.trace(matrix) / total) if total else float("nan")


def iou(matrix: Integer[np.ndarray, "k k"]) -> ClassScores:
    """Intersection over union (Jaccard index) of each class: TP / (TP + FP + FN).

    Source: Jaccard 1912; Everingham et al. 2010 for segmentation.

    Args:
        matrix: counts from `confusion`.

    Raises:
        InputError: as `pixel_accuracy`.

    Example:
        >>> from unet_data import iou
        >>> iou(np.array([[3, 1], [0, 4]])).per_class.tolist()
        [0.75, 0.8]
    """
    matrix = _checked(matrix)
    right = np.diag(matrix)
    return _scores(right, matrix.sum(axis=0) + matrix.sum(axis=1) - right)


def dice(matrix: Integer[np.ndarray, "k k"]) -> ClassScores:
    """Dice coefficient (F1) of each class: 2 TP / (2 TP + FP + FN).

    Source: Dice 1945, Sørensen 1948.

    Args:
        matrix: counts from `confusion`.

    Raises:
        InputError: as `pixel_accuracy`.

    Example:
        >>> from unet_data import dice
        >>> dice(np.array([[2, 2], [0, 4]])).per_class.round(2).tolist()
        [0.67, 0.8]
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
