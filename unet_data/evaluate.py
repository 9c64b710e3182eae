"""A network against a labelled data set."""

from __future__ import annotations

import numpy as np

from unet_data.dataset import Dataset
from unet_data.metrics import confusion, dice, iou, pixel_accuracy
from unet_data.predict import labels, predict_image
from unet_data.stitch import Run
from unet_spec import DataSpec, InputError, UNetConfig


def measure(run: Run, config: UNetConfig, data: DataSpec, dataset: Dataset) -> dict[str, float]:
    """Pixel accuracy, mean IoU and mean Dice, in [0, 1], over all pixels of all images, each segmented whole.

    Raises InputError where the data set has no labels, or other channels, axes or classes than the network.
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels to measure against")
    check_fits(config, dataset)
    matrix = np.zeros((config.classes, config.classes), np.int64)
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        matrix += confusion(labels(predict_image(run, image, config, data)), label, config.classes)
    return {"pixel_accuracy": pixel_accuracy(matrix), "iou": iou(matrix).mean, "dice": dice(matrix).mean}


def commonest_class_accuracy(dataset: Dataset) -> float:
    """The pixel accuracy of calling everything by the name of the commonest class: what a network has to beat."""
    counts = sum(np.bincount(label.ravel(), minlength=dataset.class_count) for label in dataset.labels or ())
    return float(np.max(counts) / np.sum(counts))


def check_fits(config: UNetConfig, dataset: Dataset) -> None:
    """Raises InputError where a data set has other axes, channels or classes than the network."""
    source = dataset.source
    if dataset.spatial_dims != config.spatial_dims:
        raise InputError(f"{source} holds {dataset.spatial_dims}-D images, the network is {config.spatial_dims}-D")
    if dataset.channels != config.in_channels:
        raise InputError(f"{source} has {dataset.channels} channels, the network takes {config.in_channels}")
    if dataset.labels is not None and dataset.class_count > config.classes:
        raise InputError(f"{source} has {dataset.class_count} classes, the network tells {config.classes} apart")
