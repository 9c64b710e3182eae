"""The validation score by which the best checkpoint is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unet_data import Dataset
from unet_data.datasets.border_class import BORDER_CLASSES
from unet_data.datasets.dataset import MEMBRANE_CLASSES
from unet_spec import InputError, NetworkConfig

from ..settings import TrainSettings

OBJECTS = ("v_rand", "v_info")
"""Scores of regions, not of pixels, which `unet_data.metrics.evaluate.measure` computes on demand."""
AP = "ap_mean"
"""The score of separated objects, which `measure` computes if it is given object settings."""
LOSS = "validation_loss"
"""The score for `select` loss; lower is better."""


def measure_for(settings: TrainSettings, config: NetworkConfig, dataset: Dataset) -> str:
    """The key of the scores on the validation data (`Evaluator.evaluate`) that the setting `select` selects.

    Args:
        settings, config: of the run.
        dataset: the training images.

    Raises:
        InputError: for V_Rand and V_Info, the network does not have two classes; for ap_mean, the labels do not number
            objects.
    """
    select = settings.validation.select
    if select == "auto" and is_for_objects(config, dataset):
        return AP
    if select == AP and dataset.instances is None:
        raise InputError(
            f"{dataset.source}: select is {select}, which needs labels that number objects; choose iou or dice"
        )
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
    return LOSS if select == "loss" else select


def is_for_objects(config: NetworkConfig, dataset: Dataset) -> bool:
    """Whether a network is trained to separate objects: by a border class, or by distances."""
    return dataset.instances is not None and (config.distance_head or dataset.class_names == BORDER_CLASSES)


def logged_measure(select: str, record: Mapping[str, float]) -> str:
    """The score that the setting `select` meant in a run, from a record of its log."""
    if select == "auto":
        return next((name for name in (AP, "v_rand") if name in record), "iou")
    return LOSS if select == "loss" else select


def is_best(measure: str, scores: Mapping[str, float], best: Mapping[str, float]) -> bool:
    """Whether a checkpoint with these scores is at least as good as the best so far. A missing score (no validation
    data, or NaN because it has no object) is less than any score."""
    new, old = (s.get(measure, math.nan) for s in (scores, best))
    return math.isnan(old) or (new <= old if measure == LOSS else new >= old)
