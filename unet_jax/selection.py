"""Which measure on the validation data decides what the best checkpoint is."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unet_data import Dataset
from unet_data.dataset import MEMBRANE_CLASSES
from unet_jax.settings import TrainSettings
from unet_spec import InputError, NetworkConfig

OBJECTS = ("v_rand", "v_info")
"""Measures of objects rather than of pixels, which `unet_data.evaluate.measure` takes on demand."""


def measure_for(settings: TrainSettings, config: NetworkConfig, dataset: Dataset) -> str:
    """The key of `unet_data.evaluate.measure`'s result that `settings.select` stands for.

    Raises InputError where it is of objects and the network does not tell two classes apart.
    """
    if settings.select == "auto":
        return "v_rand" if dataset.class_names == MEMBRANE_CLASSES and config.classes == 2 else "iou"
    if settings.select in OBJECTS and config.classes != 2:
        raise InputError(
            f"select is {settings.select}, which compares objects of class 1 with a background; the network tells "
            f"{config.classes} classes apart: choose iou or dice"
        )
    return settings.select


def is_best(measure: str, scores: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a checkpoint with these scores is at least as good as the best so far. No score (no validation data, or
    NaN: no object in it) is less than any."""
    new, old = (s.get(measure, math.nan) for s in (scores, best))
    return math.isnan(old) or new >= old
