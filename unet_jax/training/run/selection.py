"""The validation score by which the best checkpoint is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unet_data import Dataset
from unet_data.datasets.dataset import MEMBRANE_CLASSES
from unet_spec import InputError, NetworkConfig

from ..settings import TrainSettings

OBJECTS = ("v_rand", "v_info")
"""Scores of objects, not of pixels, which `unet_data.metrics.evaluate.measure` computes on demand."""


def measure_for(settings: TrainSettings, config: NetworkConfig, dataset: Dataset) -> str:
    """The key in the result of `unet_data.metrics.evaluate.measure` that the setting `select` selects.

    Raises InputError for a score of objects if the network does not have two classes.
    """
    select = settings.validation.select
    if select == "auto":
        return (
            "v_rand"
            if not dataset.overlapping and dataset.class_names == MEMBRANE_CLASSES and config.classes == 2
            else "iou"
        )
    if select in OBJECTS and config.classes != 2:
        raise InputError(
            f"select is {select}, which needs two classes, background and objects; the network has "
            f"{config.classes} classes: choose iou or dice"
        )
    return select


def is_best(measure: str, scores: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a checkpoint with these scores is at least as good as the best so far. A missing score (no validation
    data, or NaN because it has no object) is less than any score."""
    new, old = (s.get(measure, math.nan) for s in (scores, best))
    return math.isnan(old) or new >= old
