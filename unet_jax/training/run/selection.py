"""The measure on the validation data that chooses the best checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unet_data import Dataset
from unet_data.datasets.dataset import MEMBRANE_CLASSES
from unet_spec import InputError, NetworkConfig

from ..settings import TrainSettings

OBJECTS = ("v_rand", "v_info")
"""Measures of objects rather than of pixels, which `unet_data.metrics.evaluate.measure` computes on demand."""


def measure_for(settings: TrainSettings, config: NetworkConfig, dataset: Dataset) -> str:
    """The key of `unet_data.metrics.evaluate.measure`'s result that `select` stands for.

    Raises InputError for a measure of objects where the network does not have two classes.
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
    """Whether a checkpoint with these scores is at least as good as the best so far. No score (no validation data, or
    NaN: no object in it) is less than any."""
    new, old = (s.get(measure, math.nan) for s in (scores, best))
    return math.isnan(old) or new >= old
