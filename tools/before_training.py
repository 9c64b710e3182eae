"""What is told before a training begins: what the labels were taken for, and what cannot come of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from unet_data import Dataset
from unet_data.check import absence, label_counts
from unet_data.tiles import bands
from unet_jax.settings import TrainSettings
from unet_jax.step import learning_rate
from unet_spec import NetworkConfig
from unet_spec.ops import BatchNorm

_MOST = 6
"""Classes that are told by name."""


def what_is_learnt(dataset: Dataset) -> str:
    """The data set, how its labels were read, and the classes."""
    names = list(dataset.class_names[:_MOST]) + ["…"] * (dataset.class_count > _MOST)
    return f"{dataset.source}: {dataset.class_count} classes: {', '.join(names)}"


def warnings(
    config: NetworkConfig, settings: TrainSettings, training: Dataset, validation: Dataset | None
) -> Iterator[str]:
    """What training will not be able to learn or to tell, one line each."""
    parts: tuple[tuple[Dataset | None, Literal["training", "validation"]], ...] = (
        (training, "training"),
        (validation, "validation"),
    )
    for dataset, part in parts:
        counts = label_counts(dataset).sum(0) if dataset is not None and dataset.labels is not None else ()
        for index in np.flatnonzero(np.equal(counts, 0)):
            yield absence(training, int(index), part)
    if all(_constant(image) for image in training.images):
        yield "every image of the training part is constant: there is nothing to learn from"
    together = settings.batch // settings.accumulate
    if together == 1 and any(isinstance(node.op, BatchNorm) for node in config.graph.nodes):
        yield (
            "batch norm of one tile at a time normalises each by itself in training, and not in use: let batch be "
            "twice accumulate or more, or take another norm"
        )


def _constant(image: np.ndarray) -> bool:
    first = image[tuple(slice(0, 1) for _ in image.shape[:-1])]
    return all(bool((image[band] == first).all()) for band in bands(image.shape[:-1]))


def another_schedule(now: TrainSettings, before: TrainSettings, step: int) -> str | None:
    """Of a run that goes on after `step` steps with another number of them: what that makes of the learning rate."""
    rates = [learning_rate(settings) for settings in (before, now)]
    if now.steps == before.steps or not step or not all(callable(rate) for rate in rates):
        return None
    was, is_ = (float(rate(step)) for rate in rates)  # type: ignore[operator]
    return (
        f"the learning rate's cosine now spans {now.steps} steps instead of {before.steps}: it goes on from {is_:.2g}, "
        f"where it was {was:.2g}; a run of {now.steps} steps from the beginning is another one"
    )
