"""Messages printed before training: how the labels were interpreted, and warnings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from unet_data import Dataset
from unet_data.datasets.check import absence
from unet_data.windows import bands, middle
from unet_jax import TrainSettings
from unet_jax.training.step import learning_rate
from unet_spec import NetworkConfig
from unet_spec.ops import BatchNorm

_NAMED = 6
"""Maximum number of class names to print."""


def describe_dataset(dataset: Dataset) -> str:
    """A line about the data set, the interpretation of its labels, and the classes."""
    names = list(dataset.class_names[:_NAMED]) + ["…"] * (dataset.class_count > _NAMED)
    return f"{dataset.source}: {dataset.class_count} classes: {', '.join(names)}"


def warnings(
    config: NetworkConfig, settings: TrainSettings, training: Dataset, validation: Dataset | None
) -> Iterator[str]:
    """Warnings about what training cannot learn from these data, one line each.

    Args:
        config, settings: those of the training run.
        training, validation: the two parts of the data set.
    """
    parts: tuple[tuple[Dataset | None, Literal["training", "validation"]], ...] = (
        (training, "training"),
        (validation, "validation"),
    )
    for dataset, part in parts:
        counts = dataset.label_counts().sum(0) if dataset is not None and dataset.labels is not None else ()
        for index in np.flatnonzero(np.equal(counts, 0)):
            yield absence(training, int(index), part)
    if all(_constant(image) for image in training.images):
        yield "every training image is constant, so nothing can be learnt from them"
    together = settings.optimisation.batch // settings.optimisation.accumulate
    if together == 1 and any(isinstance(node.op, BatchNorm) for node in config.graph.nodes):
        yield (
            "batch norm sees one tile at a time in training, so its statistics differ from those in prediction: make "
            "batch at least twice accumulate, or use another norm"
        )


def _constant(image: np.ndarray) -> bool:
    first = image[tuple(slice(0, 1) for _ in image.shape[:-1])]
    size = image.shape[:-1]
    windows = (middle(size, 64), *bands(size))  # a small window answers for most images without reading a band
    return all(bool((image[window] == first).all()) for window in windows)


def changed_schedule(now: TrainSettings, before: TrainSettings, step: int) -> str | None:
    """A line about the change of the learning rate if a run is resumed after `step` steps with another total number of
    steps."""
    rates = [learning_rate(settings.optimisation) for settings in (before, now)]
    steps = now.optimisation.steps
    schedules = [rate for rate in rates if callable(rate)]
    if steps == before.optimisation.steps or not step or len(schedules) < 2:
        return None
    rate_before, rate_now = (float(np.asarray(schedule(step))) for schedule in schedules)
    return (
        f"the cosine schedule now spans {steps} steps instead of {before.optimisation.steps}: the learning rate "
        f"changes from {rate_before:.2g} to {rate_now:.2g}, and the result differs from a single run of {steps} steps"
    )
