"""A detailed measurement: scores of each class and each image, besides those of all pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec import DataSpec, InputError, NetworkConfig

from ..datasets.dataset import Dataset
from ..datasets.label_rule import IGNORED
from ..inference.output import most_probable
from ..inference.stitch import Run
from .calibration import Calibration
from .confusion import confusion, dice, iou
from .evaluate import measure
from .surfaces import SurfaceScores, pixel_sizes

if TYPE_CHECKING:
    from jaxtyping import Int64


@dataclass(frozen=True, eq=False)
class Measurement:
    """Scores of a network on labelled images, with details.

    Attributes:
        scores: as in `unet_data.measure`.
        matrix: counts of pixels by label (row) and prediction (column) over all images; (0, 0) if classes may overlap.
        images: mean IoU of each image, by its name, over the classes in its label or its prediction; empty if classes
            may overlap.
        class_names: class names of the rows.

    Example:
        >>> from unet_data import Measurement
        >>> found = Measurement({"iou": 0.5}, np.array([[6, 2], [2, 0]]), {"a": 0.3}, ("hole", "cell"))
        >>> found.baseline
        {'pixel_accuracy': 0.8, 'iou': 0.4}
        >>> found.classes[1]
        {'name': 'cell', 'share': 0.2, 'predicted': 0.2, 'iou': 0.0, 'dice': 0.0}
    """

    scores: dict[str, float]
    matrix: Int64[np.ndarray, "k k"]
    images: dict[str, float]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> list[dict[str, Any]]:
        """For each class: name, shares of the labelled and of the predicted pixels, IoU and Dice (NaN if the class
        occurs in neither)."""
        if not self.matrix.size:
            unknown = {"share": math.nan, "predicted": math.nan}
            return [
                {"name": name}
                | unknown
                | {kind: self.scores.get(f"{kind} {name}", math.nan) for kind in ("iou", "dice")}
                for name in self.class_names
            ]
        pixels = max(int(self.matrix.sum()), 1)
        true, guessed = (self.matrix.sum(axis) / pixels for axis in (1, 0))
        scores = [score(self.matrix).per_class for score in (iou, dice)]
        columns = zip(self.class_names, true, guessed, *scores, strict=True)
        return [
            {"name": name} | dict(zip(("share", "predicted", "iou", "dice"), map(float, values), strict=True))
            for name, *values in columns
        ]

    @property
    def commonest(self) -> str:
        """Name of the most frequent class."""
        return self.class_names[int(self.matrix.sum(1).argmax())]

    @property
    def baseline(self) -> dict[str, float]:
        """Scores of predicting the most frequent class everywhere: pixel accuracy, and mean IoU over the classes in the
        labels (NaN if there is only one, as in `unet_data.measure`). NaN if classes may overlap."""
        if not self.matrix.size:
            return {"pixel_accuracy": math.nan, "iou": math.nan}
        true = self.matrix.sum(1)
        share, present = float(true.max() / max(true.sum(), 1)), int((true > 0).sum())
        return {"pixel_accuracy": share, "iou": share / present if present > 1 else math.nan}


def measure_in_detail(
    run: Run,
    config: NetworkConfig,
    data: DataSpec,
    dataset: Dataset,
    objects: bool = False,
    warp: bool = False,
    calibration: Calibration | None = None,
    surfaces: SurfaceScores | None = None,
) -> Measurement:
    """Measures a network on labelled images as `unet_data.measure` does, with scores per class and image.

    Args:
        run, config, data: the network, as in `predict_image`.
        dataset: data set with labels.
        objects, warp: whether to measure also objects and the warping error, as in `unet_data.measure`.
        calibration: receives the logits; its ece and nll are added to the scores.
        surfaces: receives the predicted classes; its distances are added to the scores, in the unit of
            `unet_data.metrics.surfaces.pixel_sizes`. Not for overlapping classes.

    Raises:
        InputError: as `unet_data.measure`, and for surfaces of overlapping classes.

    Example:
        >>> from unet_data import measure_in_detail, membranes
        >>> from unet_spec import DataSpec, preset
        >>> bright = lambda images: np.concatenate([0.5 - images, images - 0.5], -1)  # stands for a network
        >>> found = measure_in_detail(bright, preset("same"), DataSpec(), membranes(2, 64, seed=0))
        >>> len(found.images), int(found.matrix.sum())
        (2, 8192)
    """
    if data.overlapping:
        if surfaces is not None:
            raise InputError("surface scores need one class per pixel; these classes may overlap")
        add = None if calibration is None else calibration.add
        scores = measure(run, config, data, dataset, objects, warp, add)
        scores |= {} if calibration is None else calibration.scores
        return Measurement(scores, np.zeros((0, 0), np.int64), {}, dataset.class_names)
    matrices: list[np.ndarray] = []

    sizes = pixel_sizes(dataset)[0]

    def count(logits: np.ndarray, label: np.ndarray) -> None:
        guess = most_probable(logits)
        if surfaces is not None:
            surfaces.add(guess, label, sizes[len(matrices)])
        matrices.append(confusion(guess, label, config.classes, IGNORED))
        if calibration is not None:
            calibration.add(logits, label)

    scores = measure(run, config, data, dataset, objects, warp, count)
    scores |= {} if calibration is None else calibration.scores
    scores |= {} if surfaces is None else surfaces.scores
    known = data.class_names if len(data.class_names) == config.classes else dataset.class_names
    names = [*known, *(f"class {index}" for index in range(len(known), config.classes))]
    images = {name: iou(one).mean for name, one in zip(dataset.names, matrices, strict=True) if one.any()}
    return Measurement(scores, np.sum(matrices, axis=0), images, tuple(names))
