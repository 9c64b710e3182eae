"""A network against a labelled data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from unet_data.border_weights import cells_of
from unet_data.clustering import overlap, v_info, v_rand
from unet_data.dataset import Dataset
from unet_data.energy import mean_energy_distance
from unet_data.labels import IGNORED, class_counts
from unet_data.metrics import confusion, dice, iou, pixel_accuracy
from unet_data.predict import labels, predict_image, probabilities, sample_image
from unet_data.stitch import Run
from unet_data.thinning import regions, thin_borders
from unet_data.tiles import bands
from unet_data.warping import warping_error
from unet_spec import DataSpec, InputError, NetworkConfig
from unet_spec.latent import draw_noise

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Close together near 1, where a network's probabilities crowd and many of its borders first close."""


def measure(
    run: Run, config: NetworkConfig, data: DataSpec, dataset: Dataset, objects: bool = False, warp: bool = False
) -> dict[str, float]:
    """Pixel accuracy and error, mean IoU and mean Dice, in [0, 1], over all pixels of all images, each segmented whole.

    With `objects`, and two classes of which class 1 is the objects', also what `object_scores` says. With `warp`, also
    the warping error of the most probable classes (2-D only; takes a second or so an image).

    Pixels whose label is IGNORED count in no score, whatever is predicted there. For objects they are background, in
    truth and proposal alike: an object that they cut in two is two objects (but one where the label files number it).
    Raises InputError where the data set has no labels, or other channels, axes or classes than the network, and where
    all of its pixels are ignored.
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels to measure against")
    check_fits(config, dataset)
    matrix = np.zeros((config.classes, config.classes), np.int64)
    tables, warped = [], []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        label = np.asarray(truth)  # one image at a time is in memory, where they stay in their files
        logits = predict_image(run, np.asarray(image), config, data)
        guess = labels(logits)
        matrix += confusion(guess, label, config.classes, IGNORED)
        counted = label != IGNORED
        if objects and config.classes == 2:
            chance = np.where(counted, probabilities(logits)[..., 1], 0)
            tables.append(_tables(chance, cells_of(dataset, index), THRESHOLDS))
        if warp and config.classes == 2 and label.ndim == 2 and counted.any():
            warped.append(warping_error(label > 0, guess > 0, counted=counted))
    accuracy = pixel_accuracy(matrix)
    scores = {"pixel_accuracy": accuracy, "pixel_error": 1 - accuracy, "iou": iou(matrix).mean}
    scores |= {"dice": dice(matrix).mean}
    if tables:
        scores |= _mean_scores(tables, THRESHOLDS)
    return scores | ({"warping_error": float(np.mean(warped))} if warped else {})


def measure_samples(
    run: Callable[[np.ndarray, np.ndarray], np.ndarray],
    config: NetworkConfig,
    data: DataSpec,
    dataset: Dataset,
    samples: int,
    seed: int = 0,
) -> dict[str, float]:
    """The generalised energy distance of `samples` hypotheses of each image from its label, and their diversity, that
    is the mean distance of two of them (`unet_data.energy`); means over the images. Both look at the pixels that are
    not IGNORED; an image without any is left out.

    run: of a runtime, with noise. Raises InputError as `measure`, and where the network has no latent variable.
    """
    if dataset.labels is None:
        raise InputError(f"{dataset.source} has no labels to measure against")
    check_fits(config, dataset)
    hypotheses, truths = [], []
    for index, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        counted = label != IGNORED
        if not counted.any():
            continue
        noise = draw_noise(config.graph, samples, seed, index)
        hypotheses.append(labels(sample_image(run, image, config, data, noise))[:, counted])
        truths.append(label[counted][None])
    distance, diversity = mean_energy_distance(hypotheses, truths, config.classes)
    return {"energy_distance": distance, "diversity": diversity}


def object_scores(
    chances: Iterable[np.ndarray], truths: Iterable[np.ndarray], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, float]:
    """V_Rand and V_Info after border thinning, mean over the images, at the threshold that is best for each, as ISBI
    2012 ranks; and the adapted Rand error without thinning at 0.5.

    Args:
        chances: per image, the probability of class 1, (H, W) or (D, H, W), in 0..1.
        truths: per image, the objects, numbered from 1, 0 elsewhere; images without any do not count.
        thresholds: a pixel is inside an object where its probability is above.

    Returns:
        v_rand, v_rand_threshold, v_info, v_info_threshold, adapted_rand_error; NaN where no image counts.
    """
    return _mean_scores([_tables(c, t, thresholds) for c, t in zip(chances, truths, strict=True)], thresholds)


class _Tables(NamedTuple):
    """Of one image: V_Rand and V_Info after border thinning at each threshold, and the adapted Rand error."""

    rand: list[float]
    info: list[float]
    error: float


def _tables(chance: np.ndarray, truth: np.ndarray, thresholds: Sequence[float]) -> _Tables | None:
    if not (truth > 0).any():
        return None
    tables = [overlap(thin_borders(regions(chance > t)), truth) for t in thresholds]
    error = 1 - v_rand(overlap(regions(chance > 0.5), truth))
    return _Tables([v_rand(table) for table in tables], [v_info(table) for table in tables], error)


def _mean_scores(images: Sequence[_Tables | None], thresholds: Sequence[float]) -> dict[str, float]:
    counted = [tables for tables in images if tables is not None]
    if not counted:
        return dict.fromkeys(
            ("v_rand", "v_rand_threshold", "v_info", "v_info_threshold", "adapted_rand_error"), math.nan
        )
    scores = {}
    for name, values in (("v_rand", [t.rand for t in counted]), ("v_info", [t.info for t in counted])):
        means = np.mean(values, 0)
        best = int(np.argmax(means))
        scores |= {name: float(means[best]), f"{name}_threshold": thresholds[best]}
    return scores | {"adapted_rand_error": float(np.mean([t.error for t in counted]))}


def commonest_class_accuracy(dataset: Dataset) -> float:
    """The pixel accuracy of calling everything by the name of the commonest class: what a network has to beat."""
    counts = sum(class_counts(label, dataset.class_count) for label in dataset.labels or ())
    return float(np.max(counts) / np.sum(counts))


def check_fits(config: NetworkConfig, dataset: Dataset) -> None:
    """Raises InputError where a data set has other axes, channels or more classes than the network, labels that number
    objects where it tells more than two classes apart, or labels of which all pixels are ignored."""
    source = dataset.source
    if dataset.spatial_dims != config.spatial_dims:
        raise InputError(f"{source} holds {dataset.spatial_dims}-D images, the network is {config.spatial_dims}-D")
    if dataset.channels != config.in_channels:
        raise InputError(f"{source} has {dataset.channels} channels, the network takes {config.in_channels}")
    if dataset.labels is not None and dataset.class_count > config.classes:
        raise InputError(f"{source} has {dataset.class_count} classes, the network tells {config.classes} apart")
    if dataset.instances is not None and config.classes > 2:
        raise InputError(f"{source}: the labels number objects of one class, the network tells {config.classes} apart")
    if dataset.labels is None or dataset.ignore is None:
        return
    if all((label[band] == IGNORED).all() for label in dataset.labels for band in bands(label.shape)):
        several = f"the labels of {dataset.names[0]}" + (f" … {dataset.names[-1]}" if len(dataset) > 1 else "")
        raise InputError(f"{source}: {several} are {dataset.ignore} everywhere, which is ignored; no pixel counts")
