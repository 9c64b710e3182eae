"""Objects that a network finds on labelled images: scores, and choice and storage of the object settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_data import Dataset, ObjectSettings, choose_object_settings, instance_scores, objects_of
from unet_data.inference.network import OpenNetwork
from unet_data.inference.stitch import Run
from unet_data.metrics.instances import object_maps
from unet_data.objects.settings import settings_for
from unet_spec import Checkpoint

SHOWN = ("@0.50", "@0.75")
"""Thresholds in the printed table; --json has all."""


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """Objects that a network found on labelled images.

    Attributes:
        labels: labels of each image, 0 for background.
        scores: scores from `instance_scores`.
        settings: the object settings.
        chosen_by: mean AP of the chosen settings; None: the settings were stored with the network.
    """

    labels: list[np.ndarray]
    scores: dict[str, float]
    settings: ObjectSettings
    chosen_by: float | None


def score_objects(network: OpenNetwork, run: Run, dataset: Dataset, choose: bool) -> FoundObjects:
    """Separates the objects and scores them.

    Args:
        network: the opened network.
        run: the network's function, or an average over views.
        dataset: labelled images with instances.
        choose: choose the object settings on these images; otherwise use those stored with the network.
    """
    assert dataset.instances is not None
    maps, truths = object_maps(run, network.config, network.data, dataset), [np.asarray(i) for i in dataset.instances]
    own, score = settings_for(network.data, network.config), None
    if choose:
        own, score = choose_object_settings(maps, truths, own)
    labels = [objects_of(m, own, network.config.spatial_dims)[0] for m in maps]
    return FoundObjects(labels, instance_scores(truths, labels), own, score)


def store_objects(folder: Path, settings: ObjectSettings) -> None:
    """Stores object settings with a checkpoint. Raises InputError."""
    checkpoint = Checkpoint.load(folder)
    replace(checkpoint, data=replace(checkpoint.data, objects=settings.to_dict())).save(folder)


def object_lines(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The scores as lines of a table."""
    shown = {k: v for k, v in scores.items() if "@" not in k or k.endswith(SHOWN)}
    counts = ("objects_true", "objects_predicted", "split", "merged")
    return [(name, f"{value:.0f}" if name in counts else f"{value:.4f}") for name, value in shown.items()]


def sequence_lines(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """The scores of a sequence as lines of a table: three scores, then counts."""
    return [(name, f"{v:.4f}" if name in ("seg", "det", "tra") else f"{v:.0f}") for name, v in scores.items()]
